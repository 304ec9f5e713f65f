"""LFM2: the width of a block under two names, the size of its feed-forward already worked out."""

from typing import Any

from converters.checkpoints import Steps


def arrange(config: dict[str, Any], steps: Steps) -> tuple[dict[str, Any], Steps]:
    first = steps.get("model.layers.0.feed_forward.w1.weight")
    given = {"block_dim": config.get("hidden_size")}
    if first is not None:
        given |= {"block_ff_dim": first.shape[0]}
    return config | given | {"block_auto_adjust_ff_dim": False}, steps
