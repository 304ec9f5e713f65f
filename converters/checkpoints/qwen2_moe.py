"""Qwen2 MoE: a window of zero is none."""

from typing import Any

from converters.checkpoints import Steps, experts


def arrange(config: dict[str, Any], steps: Steps) -> tuple[dict[str, Any], Steps]:
    return experts.arrange(config | {"sliding_window": config.get("sliding_window") or None}, steps)
