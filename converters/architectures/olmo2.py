"""OLMo 2 and 3: norms after each half of a layer, none before; norms on whole q and k. 3 has sliding layers."""

from converters.architectures.base_config import base_config
from converters.architectures.family import STANDARD, Config, Family, Source
from converters.errors import Unsupported

POST_NORMS = {
    "post_attention_norm": "post_attention_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}


def configure(source: Source) -> Config:
    if "attention.sliding_window" not in source.h:
        return base_config(source, "olmo2")
    config = base_config(source, "olmo3")
    if config["rope_scaling"]:
        raise Unsupported(
            'architecture "olmo2" with a sliding window and scaled positions is not supported yet'
        )
    slides = source.h.flags("attention.sliding_window_pattern", source.num_layers)
    return config | {
        "sliding_window": source.h.count("attention.sliding_window"),
        "layer_types": ["sliding_attention" if s else "full_attention" for s in slides],
    }


FAMILY = Family(configure=configure, blocks={**STANDARD, **POST_NORMS})
