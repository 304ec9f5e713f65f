"""OLMo 2: norms after each half of a layer, none before; norms on whole q and k."""

from converters.architectures.base_config import base_config
from converters.architectures.family import STANDARD, Config, Family, Source
from converters.errors import Unsupported

POST_NORMS = {
    "post_attention_norm": "post_attention_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}


def configure(source: Source) -> Config:
    if "attention.sliding_window" in source.h:  # OLMo 3 comes under this name too
        raise Unsupported('architecture "olmo2" with a sliding window is not supported yet')
    return base_config(source, "olmo2")


FAMILY = Family(configure=configure, blocks={**STANDARD, **POST_NORMS})
