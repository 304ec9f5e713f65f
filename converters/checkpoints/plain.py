"""Families whose checkpoints mlx-lm's classes (or ours) take as they are."""

from typing import Any

from converters.checkpoints import Steps


def arrange(config: dict[str, Any], steps: Steps) -> tuple[dict[str, Any], Steps]:
    return config, steps
