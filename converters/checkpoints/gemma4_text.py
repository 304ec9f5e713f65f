"""Gemma 4: how its full layers differ, transformers 5 says layer by layer."""

from typing import Any

from converters.checkpoints import Steps
from converters.errors import Unsupported

_GLOBAL = {"head_dim": "global_head_dim", "num_key_value_heads": "num_global_key_value_heads"}


def arrange(config: dict[str, Any], steps: Steps) -> tuple[dict[str, Any], Steps]:
    layers = config.get("per_layer_config")
    if not isinstance(layers, dict):
        return config, steps
    kinds = config.get("layer_types") or []
    own: dict[str, Any] = {}
    for index, settings in layers.items():
        if not index.isdecimal() or int(index) >= len(kinds) or not set(settings) <= set(_GLOBAL):
            raise _odd()
        if kinds[int(index)] != "full_attention":
            raise _odd()
        for key, value in settings.items():
            if own.setdefault(_GLOBAL[key], value) != value:
                raise _odd()
    return config | {"global_head_dim": config.get("head_dim")} | own, steps


def _odd() -> Unsupported:
    return Unsupported('architecture "gemma4_text" with such layers is not supported yet')
