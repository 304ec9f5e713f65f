"""Nemotron 4 and Minitron: layer norms stored with 1 added, squared ReLU."""

from converters.architectures.base_config import base_config, partial_rotary
from converters.architectures.family import STANDARD, Config, Family, Source


def configure(source: Source) -> Config:
    config = base_config(source, "nemotron")
    return config | {
        "norm_eps": source.h.number("attention.layer_norm_epsilon"),
        "hidden_act": "relu2",
        "partial_rotary_factor": partial_rotary(source, config),
    }


FAMILY = Family(configure=configure, blocks=STANDARD, norm_shift=-1.0)
