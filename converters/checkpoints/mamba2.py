"""Mamba and Mamba 2: no attention, so that its sizes go without saying."""

from typing import Any

from converters.checkpoints import Steps
from converters.checkpoints.settings import finite


def arrange(config: dict[str, Any], steps: Steps) -> tuple[dict[str, Any], Steps]:
    inner = config.get("expand", 2) * config.get("hidden_size", 0)
    given = {"num_attention_heads": config.get("num_heads", 1), "intermediate_size": inner}
    return given | finite(config), steps
