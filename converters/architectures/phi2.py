"""Phi 1 and 2: attention and feed-forward side by side under one norm, biases everywhere."""

from converters.architectures.base_config import base_config, partial_rotary
from converters.architectures.family import Config, Family, Source

BLOCKS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.dense",
    "ffn_up": "mlp.fc1",
    "ffn_down": "mlp.fc2",
}
OUTER = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.final_layernorm",
    "output": "lm_head",
}


def configure(source: Source) -> Config:
    config = base_config(source, "phi")
    return config | {
        "layer_norm_eps": source.h.number("attention.layer_norm_epsilon"),
        "partial_rotary_factor": partial_rotary(source, config),
    }


FAMILY = Family(configure=configure, blocks=BLOCKS, outer=OUTER)
