"""Ministral 3: a llama with yarn, and queries that grow with their position."""

from converters.architectures.base_config import base_config
from converters.architectures.family import STANDARD, Config, Family, Source
from converters.architectures.llama import HEADS


def configure(source: Source) -> Config:
    config = base_config(source, "ministral3")
    scaling = config.pop("rope_scaling") or {}
    multiplier = source.h.number("rope.scaling.yarn_log_multiplier", None)
    scaling |= {
        "rope_theta": config["rope_theta"],
        "llama_4_scaling_beta": source.h.number("attention.temperature_scale", 0.0),
        "mscale": 1.0,
        "mscale_all_dim": 1.0 if multiplier else 0.0,
    }
    scaling.setdefault("original_max_position_embeddings", config["max_position_embeddings"])
    return config | {"rope_parameters": scaling}


FAMILY = Family(configure=configure, blocks={**STANDARD, **HEADS})
