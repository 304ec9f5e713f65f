"""Granite 3, dense: a llama (rows of q and k permuted too) with four multipliers."""

from converters.architectures.base_config import base_config
from converters.architectures.family import STANDARD, Config, Family, Source
from converters.architectures.llama import HEADS


def multipliers(source: Source) -> Config:
    return {
        "attention_multiplier": source.h.number("attention.scale"),
        "embedding_multiplier": source.h.number("embedding_scale"),
        "residual_multiplier": source.h.number("residual_scale"),
        "logits_scaling": source.h.number("logit_scale"),
    }


def configure(source: Source) -> Config:
    return (
        base_config(source, "granite")
        | multipliers(source)
        | {
            "attention_bias": source.has("blk.0.attn_q.bias"),
            "mlp_bias": source.has("blk.0.ffn_down.bias"),
        }
    )


FAMILY = Family(configure=configure, blocks={**STANDARD, **HEADS})
