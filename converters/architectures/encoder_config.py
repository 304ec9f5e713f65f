"""The part of config.json that the text encoders share."""

from converters.architectures.family import Config, Rule, Source
from converters.gguf.cursor import invalid


def encoder_config(source: Source, model_type: str) -> Config:
    """transformers' keys, with every dimension checked against the tensors that have it."""
    h = source.h
    hidden = h.count("embedding_length")
    heads = h.count("attention.head_count", maximum=1 << 16)
    if hidden != source.columns("token_embd.weight") or hidden % heads:
        invalid(f'key "{h.architecture}.embedding_length" does not fit the tensors')
    return {
        "model_type": model_type,
        "hidden_size": hidden,
        "num_hidden_layers": source.num_layers,
        "num_attention_heads": heads,
        "intermediate_size": h.count("feed_forward_length"),
        "vocab_size": source.rows("token_embd.weight"),
        "max_position_embeddings": h.count("context_length", maximum=1 << 30),
        "layer_norm_eps": _epsilon(source),
    }


def _epsilon(source: Source) -> float:
    """ModernBERT's converter calls it that of an RMS norm."""
    stated = source.h.number("attention.layer_norm_epsilon", None)
    return stated or source.h.number("attention.layer_norm_rms_epsilon", 1e-12)


def third(index: int, to: str) -> Rule:
    """A third of the rows of fused q, k, v."""

    def rows(_: Config, total: int) -> tuple[int, int]:
        if total % 3:
            invalid("the rows of fused q, k and v are not three equal parts")
        return index * total // 3, total // 3

    return Rule(to=to, slice_rows=rows)


def matrix(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A table of one row may be stored as a vector."""
    return shape if len(shape) > 1 else (1, *shape)
