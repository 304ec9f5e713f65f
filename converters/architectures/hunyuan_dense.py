"""Hunyuan, dense: norms on q and k after the rotation."""

from converters.architectures.base_config import base_config
from converters.architectures.family import STANDARD, Config, Family, Source

BLOCKS = {
    **STANDARD,
    "attn_q_norm": "self_attn.query_layernorm",
    "attn_k_norm": "self_attn.key_layernorm",
}


def configure(source: Source) -> Config:
    return base_config(source, "hunyuan_v1_dense") | {"attention_bias": False}


FAMILY = Family(configure=configure, blocks=BLOCKS)
