"""What config.json says in other words than mlx-lm's classes: shared by the families of this folder."""

import math
from typing import Any

from converters.errors import Unsupported

UNLIMITED = 1e30
"""An upper bound that is none; JSON has no infinity."""
_WRITTEN = {"Infinity": UNLIMITED, "-Infinity": -UNLIMITED}
_OLD_NAMES = {
    "hidden_size": "n_embd",
    "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
    "max_position_embeddings": "n_positions",
    "n_ctx": "n_positions",
}

Config = dict[str, Any]


def finite(value: Any) -> Any:
    """Infinities as large numbers, as transformers 4 (`Infinity`) and 5 (an object) write them."""
    if isinstance(value, dict):
        if set(value) == {"__float__"}:
            return _WRITTEN.get(str(value["__float__"]), 0.0)
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [finite(inner) for inner in value]
    if isinstance(value, float) and math.isinf(value):
        return math.copysign(UNLIMITED, value)
    return value


def named_as_others(config: Config) -> Config:
    """The settings of GPT-2's time under today's names as well."""
    return {key: config[name] for key, name in _OLD_NAMES.items() if name in config} | config


def rotary(config: Config) -> Config:
    """The settings of the rotary embedding, wherever they are; empty when there are none."""
    found = config.get("rope_parameters") or config.get("rope_scaling")
    return found if isinstance(found, dict) else {}


def interval(config: Config, key: str, default: int) -> int:
    """Every how many layers attention is full. Raises Unsupported when the layers say no such thing."""
    kinds = config.get("layer_types")
    if not isinstance(kinds, list) or not kinds:
        stated = config.get(key)
        return stated if type(stated) is int and stated > 0 else default
    step = kinds.index("full_attention") + 1 if "full_attention" in kinds else len(kinds) + 1
    full = [i for i, kind in enumerate(kinds) if kind == "full_attention"]
    if full != list(range(step - 1, len(kinds), step)):
        kind = config.get("model_type")
        raise Unsupported(f'architecture "{kind}" with such layer_types is not supported yet')
    return step
