"""Mamba and Mamba 2: no attention, so that its sizes go without saying."""

from typing import Any

from converters.checkpoints import Steps
from converters.checkpoints.settings import finite
from converters.errors import Unsupported


def arrange(config: dict[str, Any], steps: Steps) -> tuple[dict[str, Any], Steps]:
    if config.get("n_groups", 1) != 1:
        raise Unsupported('architecture "mamba2" with several groups is not supported yet')
    inner = config.get("expand", 2) * config.get("hidden_size", 0)
    given = {"num_attention_heads": config.get("num_heads", 1), "intermediate_size": inner}
    return given | finite(config), steps
