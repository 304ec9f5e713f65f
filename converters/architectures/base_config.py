"""The part of config.json that all decoder families share."""

from converters.architectures.family import Config, Source
from converters.architectures.rope import scaling
from converters.gguf.cursor import invalid


def base_config(source: Source, model_type: str) -> Config:
    """mlx-lm's keys, with every dimension checked against the tensors that have it."""
    h = source.h
    hidden = h.count("embedding_length")
    heads = h.count("attention.head_count", maximum=1 << 16)
    kv_heads = h.count("attention.head_count_kv", heads, maximum=heads)
    if hidden != source.columns("token_embd.weight"):
        invalid(
            f'key "{h.architecture}.embedding_length" differs from the width of "token_embd.weight"'
        )
    config: Config = {
        "model_type": model_type,
        "hidden_size": hidden,
        "num_hidden_layers": source.num_layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": h.count("attention.key_length", max(hidden // heads, 1), maximum=1 << 16),
        "intermediate_size": h.count("feed_forward_length", None),
        "vocab_size": source.rows("token_embd.weight"),
        "max_position_embeddings": h.count("context_length", maximum=1 << 30),
        "rms_norm_eps": h.number("attention.layer_norm_rms_epsilon", 1e-5),
        "rope_theta": h.number("rope.freq_base", 10000.0),
        "tie_word_embeddings": not source.has("output.weight"),
    }
    rope = scaling(source, config["rope_theta"])
    return config | {"rope_scaling": rope}


def expert_counts(source: Source, key: str) -> Config:
    """How many experts there are (under the class's own `key`) and how many serve a token."""
    experts = source.h.count("expert_count", maximum=4096)
    return {
        key: experts,
        "num_experts_per_tok": source.h.count("expert_used_count", maximum=experts),
    }
