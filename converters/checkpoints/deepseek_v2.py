"""DeepSeek V2: mlx-lm's class knows no rotary embedding without YaRN, which at a factor of one is none."""

from typing import Any

from converters.checkpoints import Steps, experts
from converters.checkpoints.settings import rotary


def arrange(config: dict[str, Any], steps: Steps) -> tuple[dict[str, Any], Steps]:
    scaling = rotary(config)
    if not isinstance(scaling.get("factor"), int | float):
        length = config.get("max_position_embeddings", 4096)
        scaling = {"type": "yarn", "factor": 1.0, "original_max_position_embeddings": length}
    config = config | {"rope_scaling": scaling}
    return experts.arrange(config, steps)
