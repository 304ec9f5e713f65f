"""Two ways of attention over rows, one result."""

import mlx.core as mx
import numpy as np
import pytest

from mlx_ollama.engine.row_attention import by_group, by_row, groups


@pytest.mark.parametrize("lengths", [[5], [64] * 8, [400, 10, 11, 10, 19, 21, 7, 100], [1, 2, 3]])
@pytest.mark.parametrize("sinks", [False, True])
def test_groups_give_what_rows_give(lengths: list[int], sinks: bool) -> None:
    mx.random.seed(1)
    queries = mx.random.normal((len(lengths), 4, 1, 16))
    keys = [mx.random.normal((1, 2, n, 16)) for n in lengths]
    values = [mx.random.normal((1, 2, n, 16)) for n in lengths]
    extra = mx.random.normal((4,)) if sinks else None
    masks = [None] * len(lengths)
    wanted = by_row(queries, keys, values, 0.25, masks, extra)
    got = by_group(queries, keys, values, 0.25, masks, extra)
    np.testing.assert_allclose(np.array(got), np.array(wanted), atol=1e-5)


def test_a_group_ends_where_a_row_is_twice_as_long_as_its_shortest() -> None:
    assert groups([100, 4000, 199, 201, 100]) == [[0, 4, 2], [3], [1]]
