"""EmbeddingGemma: Gemma 3 seen in both directions, and two dense layers behind the pooling."""

from converters.architectures import gemma3
from converters.architectures.family import (
    OUTER,
    SANDWICH,
    STANDARD,
    Array,
    Config,
    Family,
    Rule,
    Source,
)


def configure(source: Source) -> Config:
    return gemma3.configure(source) | {
        "use_bidirectional_attention": True,
        "hidden_activation": "gelu_pytorch_tanh",
    }


def as_it_is(array: Array) -> Array:
    """Of a tensor that stays a float."""
    return array


FAMILY = Family(
    configure=configure,
    blocks={**STANDARD, **SANDWICH},
    outer={
        **OUTER,
        "dense_2": Rule(to="2_Dense.linear", values=as_it_is),
        "dense_3": Rule(to="3_Dense.linear", values=as_it_is),
    },
    norm_shift=-1.0,
)
