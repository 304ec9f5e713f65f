"""Gemma 2. GGUF holds norm weights with 1 added, which mlx-lm's class adds again.

The file does not say how q is scaled: by the head's size, but in the 27B model by hidden size / heads.
"""

from converters.architectures.base_config import base_config
from converters.architectures.family import SANDWICH, STANDARD, Config, Family, Source

LAYERS_OF_27B = 46


def configure(source: Source) -> Config:
    config = base_config(source, "gemma2")
    is_27b = source.num_layers == LAYERS_OF_27B
    per_head = config["hidden_size"] / config["num_attention_heads"]
    return config | {
        "query_pre_attn_scalar": per_head if is_27b else config["head_dim"],
        "attn_logit_softcapping": source.h.number("attn_logit_softcapping", 50.0),
        "final_logit_softcapping": source.h.number("final_logit_softcapping", 30.0),
        "sliding_window": source.h.count("attention.sliding_window", 4096),
    }


FAMILY = Family(configure=configure, blocks={**STANDARD, **SANDWICH}, norm_shift=-1.0)
