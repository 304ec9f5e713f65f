"""Gemma 1: norms with 1 added, as in its successors."""

from converters.architectures.base_config import base_config
from converters.architectures.family import STANDARD, Config, Family, Source


def configure(source: Source) -> Config:
    return base_config(source, "gemma")


FAMILY = Family(configure=configure, blocks=STANDARD, norm_shift=-1.0)
