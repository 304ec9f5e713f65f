"""GLM 4: fused gate and up, a norm after each half of a layer too."""

from converters.architectures.base_config import base_config, partial_rotary
from converters.architectures.family import STANDARD, Config, Family, Source

BLOCKS = {
    **STANDARD,
    "ffn_up": "mlp.gate_up_proj",
    "post_attention_norm": "post_self_attn_layernorm",
    "post_ffw_norm": "post_mlp_layernorm",
}


def configure(source: Source) -> Config:
    config = base_config(source, "glm4")
    return config | {
        "attention_bias": source.has("blk.0.attn_q.bias"),
        "partial_rotary_factor": partial_rotary(source, config),
    }


FAMILY = Family(configure=configure, blocks=BLOCKS)
