"""StarCoder 2: layer norms and linear layers with biases."""

from converters.architectures.base_config import base_config
from converters.architectures.family import STANDARD, Config, Family, Source

BLOCKS = {**STANDARD, "ffn_up": "mlp.c_fc", "ffn_down": "mlp.c_proj"}


def configure(source: Source) -> Config:
    return base_config(source, "starcoder2") | {
        "norm_epsilon": source.h.number("attention.layer_norm_epsilon"),
    }


FAMILY = Family(configure=configure, blocks=BLOCKS)
