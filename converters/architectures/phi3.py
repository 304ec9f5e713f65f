"""Phi 3 and 4: fused q, k, v and fused gate and up stay fused.

Longrope has one table for short contexts and one for long ones (mends/phi3.py).
"""

from converters.architectures.base_config import base_config, partial_rotary
from converters.architectures.family import STANDARD, Config, Family, Source
from converters.gguf.floats import small_floats

BLOCKS = {
    **STANDARD,
    "attn_qkv": "self_attn.qkv_proj",
    "ffn_up": "mlp.gate_up_proj",
}
LONG, SHORT = "rope_factors_long.weight", "rope_factors_short.weight"


def configure(source: Source) -> Config:
    config = base_config(source, "phi3")
    config["partial_rotary_factor"] = partial_rotary(source, config)
    trained = source.h.count("rope.scaling.original_context_length", None)
    config["original_max_position_embeddings"] = trained or config["max_position_embeddings"]
    if source.has(LONG):
        config["rope_scaling"] = {
            "type": "longrope",
            "rope_type": "longrope",
            "long_factor": small_floats(source.tensor(LONG)),
            "short_factor": small_floats(source.tensor(SHORT)),
        }
    return config


FAMILY = Family(configure=configure, blocks=BLOCKS)
