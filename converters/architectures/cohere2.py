"""Command R7B, A: Command R with three sliding layers to one global."""

from converters.architectures.base_config import base_config
from converters.architectures.family import STANDARD, Config, Family, Source

PATTERN = 4


def configure(source: Source) -> Config:
    return base_config(source, "cohere2") | {
        "layer_norm_eps": source.h.number("attention.layer_norm_epsilon"),
        "logit_scale": source.h.number("logit_scale"),
        "sliding_window": source.h.count("attention.sliding_window"),
        "sliding_window_pattern": PATTERN,
    }


FAMILY = Family(configure=configure, blocks=STANDARD)
