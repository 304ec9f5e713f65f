"""Seed-OSS: a llama whose rows are not permuted, with biases on q, k and v."""

from converters.architectures.base_config import base_config
from converters.architectures.family import STANDARD, Config, Family, Source

BLOCKS = {**STANDARD, "post_attention_norm": "post_attention_layernorm"}


def configure(source: Source) -> Config:
    return base_config(source, "seed_oss") | {
        "attention_bias": source.has("blk.0.attn_q.bias"),
        "attention_out_bias": source.has("blk.0.attn_output.bias"),
        "mlp_bias": False,
    }


FAMILY = Family(configure=configure, blocks=BLOCKS)
