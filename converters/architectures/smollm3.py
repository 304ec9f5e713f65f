"""SmolLM 3: a llama without positions in every fourth layer."""

from converters.architectures.base_config import base_config
from converters.architectures.family import STANDARD, Config, Family, Source
from converters.architectures.llama import HEADS


def configure(source: Source) -> Config:
    return base_config(source, "smollm3") | {"no_rope_layer_interval": 4}


FAMILY = Family(configure=configure, blocks={**STANDARD, **HEADS})
