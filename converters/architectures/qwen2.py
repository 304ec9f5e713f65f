"""Qwen 2 and 2.5, and what is distilled on them: biases on q, k and v, no permutation."""

from converters.architectures.base_config import base_config
from converters.architectures.family import STANDARD, Config, Family, Source


def configure(source: Source) -> Config:
    return base_config(source, "qwen2")


FAMILY = Family(configure=configure, blocks=STANDARD)
