"""GPT-2: learned positions, fused q, k, v."""

from converters.architectures.family import Config, Family, Source

BLOCKS = {
    "attn_norm": "ln_1",
    "attn_qkv": "attn.c_attn",
    "attn_output": "attn.c_proj",
    "ffn_norm": "ln_2",
    "ffn_up": "mlp.c_fc",
    "ffn_down": "mlp.c_proj",
}
OUTER = {
    "token_embd": "model.wte",
    "position_embd": "model.wpe",
    "output_norm": "model.ln_f",
}


def configure(source: Source) -> Config:
    h = source.h
    context = source.rows("position_embd.weight")
    width, heads = h.count("embedding_length"), h.count("attention.head_count", maximum=1 << 16)
    return {
        "model_type": "gpt2",
        "n_embd": width,
        "n_head": heads,
        "hidden_size": width,  # what all other families call them
        "num_attention_heads": heads,
        "n_layer": source.num_layers,
        "num_hidden_layers": source.num_layers,
        "n_ctx": context,
        "n_positions": context,
        "max_position_embeddings": context,
        "layer_norm_epsilon": h.number("attention.layer_norm_epsilon"),
        "vocab_size": source.rows("token_embd.weight"),
    }


FAMILY = Family(configure=configure, blocks=BLOCKS, outer=OUTER, layers="model.h")
