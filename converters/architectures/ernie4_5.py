"""ERNIE 4.5, dense."""

from converters.architectures.base_config import base_config
from converters.architectures.family import STANDARD, Config, Family, Source


def configure(source: Source) -> Config:
    return base_config(source, "ernie4_5") | {"use_bias": source.has("blk.0.attn_q.bias")}


FAMILY = Family(configure=configure, blocks=STANDARD)
