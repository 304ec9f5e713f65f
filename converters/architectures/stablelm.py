"""StableLM 2: layer norms, a part of each head rotated. The 12B model has norms within heads, and is refused."""

from converters.architectures.base_config import base_config, partial_rotary
from converters.architectures.family import STANDARD, Config, Family, Source

BLOCKS = {name: to for name, to in STANDARD.items() if not name.endswith(("q_norm", "k_norm"))}


def configure(source: Source) -> Config:
    config = base_config(source, "stablelm")
    return config | {
        "layer_norm_eps": source.h.number("attention.layer_norm_epsilon"),
        "use_qkv_bias": source.has("blk.0.attn_q.bias"),
        "partial_rotary_factor": partial_rotary(source, config),
    }


FAMILY = Family(configure=configure, blocks=BLOCKS)
