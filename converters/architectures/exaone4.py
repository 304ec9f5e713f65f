"""EXAONE 4, 1.2B: norms after each half of a layer. The 32B mixes sliding layers in, and is refused."""

from converters.architectures.base_config import base_config
from converters.architectures.family import STANDARD, Config, Family, Source
from converters.errors import Unsupported

LAYERS_OF_32B = 64
BLOCKS = {
    **STANDARD,
    "post_attention_norm": "post_attention_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}


def configure(source: Source) -> Config:
    if source.num_layers == LAYERS_OF_32B:
        raise Unsupported('architecture "exaone4" with sliding layers is not supported yet')
    return base_config(source, "exaone4") | {"sliding_window": None, "sliding_window_pattern": None}


FAMILY = Family(configure=configure, blocks=BLOCKS)
