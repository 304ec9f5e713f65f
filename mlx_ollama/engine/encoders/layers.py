"""What the encoders share: arguments from a config, activations, attention over padded rows."""

import inspect
from collections.abc import Callable
from typing import Any, Self

import mlx.core as mx
import mlx.nn as nn


def quick_gelu(x: mx.array) -> mx.array:
    """CLIP's."""
    return x * mx.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable[[mx.array], mx.array]] = {
    "gelu": nn.gelu,
    "gelu_new": nn.gelu_approx,
    "gelu_pytorch_tanh": nn.gelu_approx,
    "quick_gelu": quick_gelu,
    "relu": nn.relu,
    "silu": nn.silu,
    "swiglu": nn.silu,
}


class FromConfig:
    """A dataclass built from the keys of config.json that it names."""

    @classmethod
    def from_dict(cls, config: dict[str, Any]) -> Self:
        known = inspect.signature(cls).parameters
        return cls(**{name: value for name, value in config.items() if name in known})


class EncoderModel(nn.Module):
    """What an engine may ask of any model."""

    def make_cache(self) -> list[Any]:
        """Nothing is kept from one text to the next."""
        return []


def split_heads(x: mx.array, heads: int) -> mx.array:
    """(rows, length, width) to (rows, heads, length, width / heads)."""
    rows, length, _ = x.shape
    return x.reshape(rows, length, heads, -1).transpose(0, 2, 1, 3)


def attend(q: mx.array, k: mx.array, v: mx.array, mask: mx.array) -> mx.array:
    """Attention of split heads in both directions; `mask` broadcasts to (rows, 1, length, length)."""
    rows, heads, length, width = q.shape
    out = mx.fast.scaled_dot_product_attention(q, k, v, scale=width**-0.5, mask=mask)
    return out.transpose(0, 2, 1, 3).reshape(rows, length, heads * width)


FULL, SLIDING = "full_attention", "sliding_attention"


def full_and_sliding(mask: mx.array, window: int) -> dict[str, mx.array]:
    """Which positions see which, by a layer's kind: all, or those within half a window on either side."""
    full = mask[:, None, None, :]
    positions = mx.arange(mask.shape[1])
    near = mx.abs(positions[:, None] - positions[None]) <= window // 2
    return {FULL: full, SLIDING: full & near}
