"""Gemma 4, text: two widths of heads, embeddings per layer, layers that share keys and values.

Norms hold plain weights. The last dimensions of global heads are not rotated, which the frequency table
says with huge divisors.
"""

from converters.architectures.base_config import base_config
from converters.architectures.family import OUTER, SANDWICH, STANDARD, Config, Family, Rule, Source
from converters.gguf.cursor import invalid
from converters.gguf.floats import small_floats

UNROTATED = 1e29
BLOCKS = {
    **STANDARD,
    **SANDWICH,
    "inp_gate": "per_layer_input_gate",
    "proj": "per_layer_projection",
    "post_norm": "post_per_layer_input_norm",
    "layer_output_scale": Rule(to="layer_scalar", bare=True),
}
OUTER_NAMES = {
    **OUTER,
    "per_layer_token_embd": "model.embed_tokens_per_layer",
    "per_layer_model_proj": "model.per_layer_model_projection",
    "per_layer_proj_norm": "model.per_layer_projection_norm",
}


def configure(source: Source) -> Config:
    h, layers = source.h, source.num_layers
    slides = h.flags("attention.sliding_window_pattern", layers)
    if True not in slides or False not in slides:
        invalid('key "gemma4.attention.sliding_window_pattern" has one kind of layer only')
    kv_heads = h.counts("attention.head_count_kv", layers)
    widths = h.counts("feed_forward_length", layers)
    config = base_config(source, "gemma4_text", scales_rope=False)
    return config | {
        "head_dim": h.count("attention.key_length_swa", maximum=1 << 16),
        "global_head_dim": config["head_dim"],
        "num_key_value_heads": kv_heads[slides.index(True)],
        "num_global_key_value_heads": kv_heads[slides.index(False)],
        "sliding_window": h.count("attention.sliding_window"),
        "layer_types": ["sliding_attention" if s else "full_attention" for s in slides],
        "num_kv_shared_layers": h.count("attention.shared_kv_layers", 0, least=0, maximum=layers),
        "hidden_size_per_layer_input": h.count("embedding_length_per_layer_input", 0, least=0),
        "vocab_size_per_layer_input": config["vocab_size"],
        "final_logit_softcapping": h.number("final_logit_softcapping", None),
        "intermediate_size": min(widths),
        "use_double_wide_mlp": len(set(widths)) > 1,
        "rope_parameters": _rope(source, config["rope_theta"]),
    }


def _rope(source: Source, base: float) -> Config:
    table = small_floats(source.tensor("rope_freqs.weight"))
    rotated = sum(value < UNROTATED for value in table) / len(table)
    local = source.h.number("rope.freq_base_swa", 1e4)
    return {
        "full_attention": {
            "rope_type": "proportional",
            "rope_theta": base,
            "partial_rotary_factor": rotated,
        },
        "sliding_attention": {
            "rope_type": "default",
            "rope_theta": local,
            "partial_rotary_factor": 1.0,
        },
    }


FAMILY = Family(configure=configure, blocks=BLOCKS, outer=OUTER_NAMES)
