"""Solar Open: heads are rotated whole unless the settings say otherwise, and every layer has experts."""

from typing import Any

from converters.checkpoints import Steps, glm4_moe
from converters.checkpoints.settings import rotary

_DENSE = "model.layers.0.mlp.down_proj.weight"


def arrange(config: dict[str, Any], steps: Steps) -> tuple[dict[str, Any], Steps]:
    share = rotary(config).get("partial_rotary_factor", 1.0)
    own = {} if _DENSE in steps else {"first_k_dense_replace": 0}
    return glm4_moe.arrange({"partial_rotary_factor": share} | config | own, steps)
