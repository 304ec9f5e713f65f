"""Jamba: mlx-lm's class counts the layers with experts from the other side, which often comes to the same."""

from typing import Any

from converters.checkpoints import Steps, experts
from converters.errors import Unsupported


def arrange(config: dict[str, Any], steps: Steps) -> tuple[dict[str, Any], Steps]:
    period, offset = config.get("expert_layer_period", 2), config.get("expert_layer_offset", 1)
    if type(period) is not int or type(offset) is not int or period < 1 or 2 * offset % period:
        raise Unsupported('architecture "jamba" with such expert layers is not supported yet')
    return experts.arrange(config, steps)
