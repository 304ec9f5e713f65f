"""Pooling, and batches that waste little."""

import mlx.core as mx
import numpy as np
import pytest

from mlx_ollama.engine.embeddings import (
    MAX_BATCH_ROWS,
    MAX_BATCH_TOKENS,
    Embedder,
    batches,
    normalize,
)


def positions_as_states(ids: mx.array, mask: mx.array) -> mx.array:
    """A body whose state is the token's id and its square; padding is set to something loud."""
    x = mx.where(mask, ids, 10_000).astype(mx.float32)
    return mx.stack([x, x * x], axis=-1)


@pytest.mark.parametrize(
    ("pooling", "wanted"),
    [
        ("mean", [[2, 14 / 3], [7, 49]]),
        ("cls", [[1, 1], [7, 49]]),
        ("last", [[3, 9], [7, 49]]),
        ("max", [[3, 9], [7, 49]]),
    ],
)
def test_pooling_never_sees_the_padding(pooling: str, wanted: list[list[float]]) -> None:
    vectors = Embedder(positions_as_states, pooling).embed([[1, 2, 3], [7]])
    np.testing.assert_allclose(np.array(vectors), wanted, rtol=1e-6)


def test_batches_hold_every_row_once_within_their_bounds() -> None:
    lengths = [1 + (i * 7919) % 500 for i in range(2048)]
    seen = list(batches(lengths))
    assert sorted(i for batch in seen for i in batch) == list(range(2048))
    assert all(len(batch) <= MAX_BATCH_ROWS for batch in seen)
    assert all(len(b) * max(lengths[i] for i in b) <= MAX_BATCH_TOKENS for b in seen)


def test_a_row_over_the_bound_goes_alone() -> None:
    assert list(batches([5, MAX_BATCH_TOKENS + 1])) == [[0], [1]]


def test_normalised_rows_have_length_one_and_zero_stays() -> None:
    rows = np.array(normalize(mx.array([[3.0, 4.0], [0.0, 0.0]])))
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0.0, 0.0]], rtol=1e-6)
