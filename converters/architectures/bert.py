"""BERT, and RoBERTa with its first positions cut off, which makes it the same."""

from converters.architectures.encoder_config import encoder_config, matrix, third
from converters.architectures.family import Config, Family, Names, Rule, Source

FUSED = "attention.self"
BLOCKS: Names = {
    "attn_q": f"{FUSED}.query",
    "attn_k": f"{FUSED}.key",
    "attn_v": f"{FUSED}.value",
    "attn_qkv": (third(0, f"{FUSED}.query"), third(1, f"{FUSED}.key"), third(2, f"{FUSED}.value")),
    "attn_output": "attention.output.dense",
    "attn_output_norm": "attention.output.LayerNorm",
    "ffn_up": "intermediate.dense",
    "ffn_down": "output.dense",
    "layer_output_norm": "output.LayerNorm",
}
EMBEDDINGS: Names = {
    "token_embd": "embeddings.word_embeddings",
    "token_types": Rule(to="embeddings.token_type_embeddings", shape=matrix),
    "token_embd_norm": "embeddings.LayerNorm",
}


def types(source: Source) -> int:
    """Kinds of segments; texts here have the first."""
    table = source.tensor("token_types.weight")
    return table.shape[1] if len(table.shape) > 1 else 1


def configure(source: Source) -> Config:
    return encoder_config(source, "bert") | {
        "type_vocab_size": types(source),
        "max_position_embeddings": source.rows("position_embd.weight"),
        "hidden_act": "gelu",
    }


FAMILY = Family(
    configure=configure,
    blocks=BLOCKS,
    outer={**EMBEDDINGS, "position_embd": "embeddings.position_embeddings"},
    layers="encoder.layer",
)
