"""Nomic BERT as its authors publish it: GPT-2's words for sizes, and code of their own, which is left out."""

from typing import Any

from converters.checkpoints import Steps
from converters.errors import Unsupported

SIZES = {
    "n_embd": "hidden_size",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_inner": "intermediate_size",
    "layer_norm_epsilon": "layer_norm_eps",
    "max_trained_positions": "max_position_embeddings",
}
# What the class here takes for granted.
EXPECTED = {
    "activation_function": "swiglu",
    "causal": False,
    "mlp_fc1_bias": False,
    "mlp_fc2_bias": False,
    "moe_every_n_layers": 0,
    "prenorm": False,
    "qkv_proj_bias": False,
    "rotary_emb_fraction": 1.0,
    "rotary_emb_interleaved": False,
    "rotary_emb_scale_base": None,
}


def arrange(config: dict[str, Any], steps: Steps) -> tuple[dict[str, Any], Steps]:
    """Raises Unsupported for the variants that other models of the name have."""
    if "n_embd" not in config:
        return config, steps
    for key, wanted in EXPECTED.items():
        if (config.get(key, wanted) or None) != (wanted or None):
            raise Unsupported(f"nomic_bert with {key} is not supported yet")
    arranged = {SIZES.get(key, key): value for key, value in config.items() if key != "auto_map"}
    return arranged | {"hidden_act": "silu"}, steps
