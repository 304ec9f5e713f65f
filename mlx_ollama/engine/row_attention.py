"""Attention of one new token a row over each row's own keys, in two ways that give the same.

`by_row`: a call for each row, nothing is copied. `by_group`: rows whose lengths are within a factor of two go
together, padded on the right behind a mask, so that there are fewer calls, each over a copy of its keys.
`ATTEND` is the one in use, chosen by `benchmarks/engine.py`: on the CPU the copies cost more than the calls save.
"""

from collections.abc import Callable, Sequence

import mlx.core as mx

MAX_RATIO = 2.0

Masks = Sequence[mx.array | None]
Attend = Callable[
    [mx.array, Sequence[mx.array], Sequence[mx.array], float, Masks, mx.array | None], mx.array
]


def by_row(
    queries: mx.array,
    keys: Sequence[mx.array],
    values: Sequence[mx.array],
    scale: float,
    masks: Masks,
    sinks: mx.array | None,
) -> mx.array:
    """queries (rows, heads, 1, width); keys and values (1, heads, length, width) a row; masks None or (1, length)."""
    parts = mx.split(queries, len(keys)) if len(keys) > 1 else [queries]
    return mx.concatenate(
        [
            mx.fast.scaled_dot_product_attention(part, k, v, scale=scale, mask=mask, sinks=sinks)
            for part, k, v, mask in zip(parts, keys, values, masks, strict=True)
        ]
    )


def by_group(
    queries: mx.array,
    keys: Sequence[mx.array],
    values: Sequence[mx.array],
    scale: float,
    masks: Masks,
    sinks: mx.array | None,
) -> mx.array:
    """As `by_row`. Rows that bring a mask of their own are left to it."""
    if any(mask is not None for mask in masks):
        return by_row(queries, keys, values, scale, masks, sinks)
    lengths = [k.shape[2] for k in keys]
    found: list[mx.array] = []
    order: list[int] = []
    for group in groups(lengths):
        members = mx.array(group)
        longest = lengths[group[-1]]
        real = mx.arange(longest)[None] < mx.array([lengths[i] for i in group])[:, None]
        found.append(
            mx.fast.scaled_dot_product_attention(
                queries[members],
                _padded([keys[i] for i in group], longest),
                _padded([values[i] for i in group], longest),
                scale=scale,
                mask=real[:, None, None, :],
                sinks=sinks,
            )
        )
        order += group
    back = sorted(range(len(order)), key=order.__getitem__)
    return mx.concatenate(found)[mx.array(back)]


def groups(lengths: Sequence[int]) -> list[list[int]]:
    """Row numbers, shortest first, cut where a row is more than twice as long as its group's shortest."""
    found: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if found and lengths[row] <= MAX_RATIO * lengths[found[-1][0]]:
            found[-1].append(row)
        else:
            found.append([row])
    return found


def _padded(arrays: Sequence[mx.array], length: int) -> mx.array:
    return mx.concatenate(
        [mx.pad(a, [(0, 0), (0, 0), (0, length - a.shape[2]), (0, 0)]) for a in arrays]
    )


ATTEND: Attend = by_row
