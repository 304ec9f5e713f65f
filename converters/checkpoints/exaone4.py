"""EXAONE 4: the width of a head, and no pattern where no layer slides."""

from typing import Any

from converters.checkpoints import Steps


def arrange(config: dict[str, Any], steps: Steps) -> tuple[dict[str, Any], Steps]:
    width, heads = config.get("hidden_size", 0), config.get("num_attention_heads") or 1
    own: dict[str, Any] = {}
    if not config.get("sliding_window") or not config.get("sliding_window_pattern"):
        own = {"sliding_window": None, "sliding_window_pattern": None}
    elif isinstance(config["sliding_window_pattern"], int):
        own = {"sliding_window_pattern": "L" * (config["sliding_window_pattern"] - 1) + "G"}
    return {"head_dim": width // heads} | config | own, steps
