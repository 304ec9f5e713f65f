"""Command R7B: which layers slide is a period to mlx-lm, a list to transformers."""

from typing import Any

from converters.checkpoints import Steps
from converters.checkpoints.settings import interval


def arrange(config: dict[str, Any], steps: Steps) -> tuple[dict[str, Any], Steps]:
    period = interval(config, "sliding_window_pattern", 4)
    return config | {"sliding_window_pattern": period}, steps
