"""Command R: layer norms without bias, one norm a layer, tied embeddings."""

from converters.architectures.base_config import base_config
from converters.architectures.family import STANDARD, Config, Family, Source


def configure(source: Source) -> Config:
    return base_config(source, "cohere") | {
        "layer_norm_eps": source.h.number("attention.layer_norm_epsilon"),
        "logit_scale": source.h.number("logit_scale"),
        "use_qk_norm": False,
    }


BLOCKS = {name: to for name, to in STANDARD.items() if not name.endswith(("q_norm", "k_norm"))}
FAMILY = Family(configure=configure, blocks=BLOCKS)
