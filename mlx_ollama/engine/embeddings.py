"""Token ids to pooled vectors, for encoders and for the bodies of language models.

Rows are sorted by length and padded on the right into batches, so that a batch wastes little; a caller may let
other work in between two batches.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn

MAX_BATCH_TOKENS = 4096  # padding counted: bounds the memory of one batch
MAX_BATCH_ROWS = 64

Rows = Sequence[Sequence[int]]


@dataclass(frozen=True, kw_only=True)
class Projection:
    """A dense layer after pooling (sentence-transformers' `2_Dense` …)."""

    weight: mx.array
    bias: mx.array | None = None
    is_tanh: bool = False

    def __call__(self, x: mx.array) -> mx.array:
        x = x @ self.weight.T
        x = x if self.bias is None else x + self.bias
        return mx.tanh(x) if self.is_tanh else x


def _mean(hidden: mx.array, mask: mx.array) -> mx.array:
    weights = mask[..., None].astype(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1)


def _first(hidden: mx.array, mask: mx.array) -> mx.array:
    return hidden[:, 0]


def _last(hidden: mx.array, mask: mx.array) -> mx.array:
    ends = mask.sum(1) - 1
    return mx.take_along_axis(hidden, ends[:, None, None], axis=1)[:, 0]


def _maximum(hidden: mx.array, mask: mx.array) -> mx.array:
    return mx.where(mask[..., None], hidden, -mx.inf).max(1)


POOLINGS: dict[str, Callable[[mx.array, mx.array], mx.array]] = {
    "mean": _mean,
    "cls": _first,
    "last": _last,
    "max": _maximum,
}


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices of rows that go together: shortest first, within the bounds of a batch."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (
            len(batch) == MAX_BATCH_ROWS or (len(batch) + 1) * lengths[index] > MAX_BATCH_TOKENS
        ):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


class Embedder:
    """`body`: (ids, mask) to hidden states; `pooling`: a key of POOLINGS."""

    def __init__(
        self,
        body: Callable[[mx.array, mx.array], mx.array],
        pooling: str,
        projections: Sequence[Projection] = (),
    ) -> None:
        self._body = body
        self._pool = POOLINGS[pooling]
        self._projections = tuple(projections)

    def embed(self, rows: Rows) -> mx.array:
        """One batch: float32 (rows, width), evaluated, not normalised. Every row has at least one token."""
        width = max(map(len, rows))
        ids = mx.array([[*row, *[0] * (width - len(row))] for row in rows], dtype=mx.int32)
        mask = mx.arange(width)[None] < mx.array([len(row) for row in rows])[:, None]
        pooled = self._pool(self._body(ids, mask), mask)
        for projection in self._projections:
            pooled = projection(pooled)
        pooled = pooled.astype(mx.float32)
        mx.eval(pooled)
        return pooled


def causal_body(model: nn.Module) -> Callable[[mx.array, mx.array], mx.array]:
    """A language model's hidden states. Causal attention never looks at the padding on the right."""
    inner: Any = getattr(model, "language_model", model)
    return lambda ids, mask: inner.model(ids)


def normalize(vectors: mx.array) -> mx.array:
    """Rows of length 1; a zero row stays (the floor is Ollama's)."""
    lengths = mx.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / mx.maximum(lengths, 1e-12)
