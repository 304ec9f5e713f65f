"""What the numbers of a config.json may be: a model is built from them, whatever they say."""

import math
from typing import Any

from converters.errors import SourceError

INTEGERS = {
    "num_hidden_layers": (1, 1024),
    "hidden_size": (1, 131_072),
    "intermediate_size": (1, 1 << 21),
    "moe_intermediate_size": (1, 1 << 21),
    "num_attention_heads": (1, 4096),
    "num_key_value_heads": (1, 4096),
    "head_dim": (1, 8192),
    "vocab_size": (1, 4 << 20),
    "max_position_embeddings": (1, 1 << 31),
    "original_max_position_embeddings": (1, 1 << 31),
    "sliding_window": (1, 1 << 31),
    "sliding_window_pattern": (1, 1024),
    "num_experts": (1, 4096),
    "num_local_experts": (1, 4096),
    "num_experts_per_tok": (1, 4096),
    "decoder_sparse_step": (1, 1024),
    "depth": (1, 1024),
    "num_heads": (1, 4096),
    "patch_size": (1, 1024),
}
FLOATS = ("rms_norm_eps", "rope_theta", "rope_local_base_freq", "query_pre_attn_scalar")


def check_numbers(config: dict[str, Any]) -> None:
    """Of any part of a config: the text model's, or a tower's. SourceError names the field."""
    for name, (low, high) in INTEGERS.items():
        value = config.get(name)
        if value is None or _is_pattern(name, value):
            continue
        if type(value) is not int or not low <= value <= high:
            raise SourceError(f"config.json: {name} must be between {low} and {high}")
    for name in FLOATS:
        value = config.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise SourceError(f"config.json: {name} must be a number")
        if not 0 < value < math.inf:
            raise SourceError(f"config.json: {name} must be positive")


def _is_pattern(name: str, value: Any) -> bool:
    """EXAONE 4 spells the kinds of layers: `LLLG`."""
    return name == "sliding_window_pattern" and isinstance(value, str) and not value.strip("LG")
