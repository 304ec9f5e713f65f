"""Qwen 3, dense: norms on q and k."""

from converters.architectures.base_config import base_config
from converters.architectures.family import STANDARD, Config, Family, Source


def configure(source: Source) -> Config:
    return base_config(source, "qwen3")


FAMILY = Family(configure=configure, blocks=STANDARD)
