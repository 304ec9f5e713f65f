"""Gemma 3, text. Five sliding layers to one global; norms as in Gemma 2."""

from converters.architectures.base_config import base_config
from converters.architectures.family import SANDWICH, STANDARD, Config, Family, Source
from converters.gguf.cursor import invalid

LAYERS_OF_27B = 62
PATTERN = 6
LOCAL_ROPE_BASE = 10000.0


def configure(source: Source) -> Config:
    config = base_config(source, "gemma3_text")
    is_27b = source.num_layers == LAYERS_OF_27B
    per_head = config["hidden_size"] / config["num_attention_heads"]
    return config | {
        "rope_theta": source.h.number("rope.freq_base", 1e6),
        "rope_local_base_freq": source.h.number("rope.freq_base_swa", LOCAL_ROPE_BASE),
        "query_pre_attn_scalar": per_head if is_27b else config["head_dim"],
        "sliding_window": source.h.count("attention.sliding_window"),
        "sliding_window_pattern": _pattern(source),
    }


def _pattern(source: Source) -> int:
    """Every how many layers one is global; most files leave it to the reader."""
    stated = source.h.raw("attention.sliding_window_pattern", PATTERN)
    if type(stated) is not int or not 1 < stated <= source.num_layers + PATTERN:
        invalid('key "gemma3.attention.sliding_window_pattern" is out of range')
    return stated


FAMILY = Family(configure=configure, blocks={**STANDARD, **SANDWICH}, norm_shift=-1.0)
