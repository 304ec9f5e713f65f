"""Nomic BERT: rotary positions and a gated feed-forward."""

from converters.architectures.bert import EMBEDDINGS, types
from converters.architectures.encoder_config import encoder_config, third
from converters.architectures.family import Config, Family, Names, Source

PARTS = ("q", "k", "v")
BLOCKS: Names = {
    **{f"attn_{part}": f"self_attn.{part}_proj" for part in PARTS},
    "attn_qkv": tuple(third(i, f"self_attn.{part}_proj") for i, part in enumerate(PARTS)),
    "attn_output": "self_attn.o_proj",
    "attn_output_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "layer_output_norm": "post_mlp_layernorm",
}


def configure(source: Source) -> Config:
    return encoder_config(source, "nomic_bert") | {
        "type_vocab_size": types(source),
        "rope_theta": source.h.number("rope.freq_base", 1000.0),
        "hidden_act": "silu",
    }


FAMILY = Family(configure=configure, blocks=BLOCKS, outer=EMBEDDINGS, layers="layers")
