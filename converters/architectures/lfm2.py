"""LFM 2: short convolutions in most layers, attention in the others."""

from converters.architectures.base_config import base_config
from converters.architectures.family import Config, Family, Rule, Source, as_convolution
from converters.gguf.cursor import invalid

BLOCKS = {
    "attn_norm": "operator_norm",
    "ffn_norm": "ffn_norm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.out_proj",
    "attn_q_norm": "self_attn.q_layernorm",
    "attn_k_norm": "self_attn.k_layernorm",
    "ffn_gate": "feed_forward.w1",
    "ffn_up": "feed_forward.w3",
    "ffn_down": "feed_forward.w2",
    "shortconv.in_proj": "conv.in_proj",
    "shortconv.out_proj": "conv.out_proj",
    "shortconv.conv": Rule(to="conv.conv", shape=as_convolution),
}
OUTER = {
    "token_embd": "model.embed_tokens",
    "token_embd_norm": "model.embedding_norm",  # llama.cpp's name for the last norm
    "output_norm": "model.embedding_norm",  # Ollama's
}


def configure(source: Source) -> Config:
    config = base_config(source, "lfm2")
    kv_heads = source.h.counts("attention.head_count_kv", source.num_layers)
    attention = [i for i, count in enumerate(kv_heads) if count]
    if not attention:
        invalid('key "lfm2.attention.head_count_kv" names no attention layer')
    return config | {
        "norm_eps": config["rms_norm_eps"],
        "block_dim": config["hidden_size"],
        "block_ff_dim": source.rows("blk.0.ffn_gate.weight"),
        "block_multiple_of": 256,
        "block_ffn_dim_multiplier": 1.0,
        "block_auto_adjust_ff_dim": False,
        "conv_L_cache": source.h.count("shortconv.l_cache", maximum=64),
        "conv_bias": False,
        "full_attn_idxs": attention,
    }


FAMILY = Family(configure=configure, blocks=BLOCKS, outer=OUTER)
