"""The part of config.json that all decoder families share."""

from converters.architectures.family import Config, Source
from converters.architectures.rope import scaling
from converters.gguf.cursor import invalid


def base_config(source: Source, model_type: str, *, scales_rope: bool = True) -> Config:
    """mlx-lm's keys, with every dimension checked against the tensors that have it.

    `scales_rope` False: the family reads its frequency table itself.
    """
    h = source.h
    hidden = h.count("embedding_length")
    heads = h.count("attention.head_count", maximum=1 << 16)
    if hidden != source.columns("token_embd.weight"):
        invalid(
            f'key "{h.architecture}.embedding_length" differs from the width of "token_embd.weight"'
        )
    config: Config = {
        "model_type": model_type,
        "hidden_size": hidden,
        "num_hidden_layers": source.num_layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "head_dim": h.count("attention.key_length", max(hidden // heads, 1), maximum=1 << 16),
        "intermediate_size": h.count("feed_forward_length", None),
        "vocab_size": source.rows("token_embd.weight"),
        "max_position_embeddings": h.count("context_length", maximum=1 << 30),
        "rms_norm_eps": h.number("attention.layer_norm_rms_epsilon", 1e-5),
        "rope_theta": h.number("rope.freq_base", 10000.0),
        "tie_word_embeddings": not source.has("output.weight"),
    }
    config["num_key_value_heads"] = _kv_heads(source, heads, config["head_dim"])
    config["rope_scaling"] = scaling(source, config["rope_theta"]) if scales_rope else None
    return config


def _kv_heads(source: Source, heads: int, width: int) -> int:
    """From the key; from a tensor where the key is 0, as it is for hybrids."""
    stated = source.h.count("attention.head_count_kv", heads, maximum=heads, least=0)
    if stated:
        return stated
    names = (f"blk.{i}.attn_k.weight" for i in range(source.num_layers))
    first = next((name for name in names if source.has(name)), None)
    if first is None:
        invalid(f'key "{source.h.architecture}.attention.head_count_kv" is out of range')
    return source.rows(first) // width


def expert_counts(source: Source, key: str) -> Config:
    """How many experts there are (under the class's own `key`) and how many serve a token."""
    experts = source.h.count("expert_count", maximum=4096)
    return {
        key: experts,
        "num_experts_per_tok": source.h.count("expert_used_count", maximum=experts),
    }


def grouped_experts(source: Source) -> Config:
    """DeepSeek V3's way with experts, which others took over."""
    h = source.h
    return {
        "moe_intermediate_size": h.count("expert_feed_forward_length"),
        "n_shared_experts": h.count("expert_shared_count", maximum=4096),
        "first_k_dense_replace": h.count("leading_dense_block_count", 0, least=0),
        "moe_layer_freq": 1,
        "routed_scaling_factor": h.number("expert_weights_scale", 1.0),
        "norm_topk_prob": h.flag("expert_weights_norm", False),
        "n_group": h.count("expert_group_count", 1, maximum=4096),
        "topk_group": h.count("expert_group_used_count", 1, maximum=4096),
    }


def partial_rotary(source: Source, config: Config) -> float:
    """The share of each head that is rotated."""
    width = config["head_dim"]
    return source.h.count("rope.dimension_count", width, maximum=width) / width
