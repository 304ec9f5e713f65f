"""Several rows' caches side by side, as the one cache a layer expects.

Linear layers see all rows as a batch; attention runs row by row over each row's own cache, so that nothing
is padded, and a row joins or leaves without a copy. Only for one new token a row (decode).
"""

from collections.abc import Sequence
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from mlx_ollama.engine import row_attention


class RowArrays(list[mx.array]):
    """One array a row, of different lengths: keys, or values."""


class RowMasks(list[Any]):
    """One attention mask a row; None where every key counts."""


def _apart(batch: mx.array) -> list[mx.array]:
    """Each row as a batch of one, in one operation."""
    return list(mx.split(batch, batch.shape[0]))


class KVRows:
    """Key-value caches. `offset` is set by the batch before each step, one number a row."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self.rows = rows
        self.offset: mx.array

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[RowArrays, RowArrays]:
        new = zip(self.rows, _apart(keys), _apart(values), strict=True)
        pairs = [row.update_and_fetch(k, v) for row, k, v in new]
        return RowArrays([k for k, _ in pairs]), RowArrays([v for _, v in pairs])

    def keys_and_values(self) -> tuple[RowArrays, RowArrays]:
        """What an earlier layer stored, for layers that share it."""
        pairs = [row.keys_and_values() for row in self.rows]
        return RowArrays([k for k, _ in pairs]), RowArrays([v for _, v in pairs])

    def make_mask(
        self, length: int, window_size: int | None = None, return_array: bool = False
    ) -> RowMasks | None:
        """Each row's own mask for one new token; None when no row needs any."""
        masks = RowMasks(
            row.make_mask(length, window_size=window_size, return_array=return_array)
            for row in self.rows
        )
        return masks if any(mask is not None for mask in masks) else None


class ArrayRows:
    """Recurrent state: stacked for the layer, handed back to the rows as the layer stores it."""

    lengths = None
    left_padding = None

    def __init__(self, rows: Sequence[Any]) -> None:
        self.rows = rows

    def __getitem__(self, index: int) -> mx.array | None:
        states = [row[index] for row in self.rows]
        return None if states[0] is None else mx.concatenate(states)

    def __setitem__(self, index: int, value: mx.array) -> None:
        for row, part in zip(self.rows, _apart(value), strict=True):
            row[index] = part

    def __len__(self) -> int:
        return len(self.rows[0].cache)

    def advance(self, length: int) -> None:
        pass

    def make_mask(self, length: int) -> None:
        return None


class ListRows:
    """A layer with several caches."""

    def __init__(self, members: Sequence[Any]) -> None:
        self.members = members

    def __getitem__(self, index: int) -> Any:
        return self.members[index]


RowView = KVRows | ArrayRows | ListRows


def side_by_side(rows: Sequence[Any]) -> RowView:
    """One layer's caches of all rows as one. TypeError for a kind that cannot stand in a batch."""
    kind = type(rows[0]).__name__
    if kind in ("KVCache", "RotatingKVCache"):
        return KVRows(rows)
    if kind == "ArraysCache":
        return ArrayRows(rows)
    if kind == "CacheList":
        count = len(rows[0].caches)
        return ListRows([side_by_side([row[i] for row in rows]) for i in range(count)])
    raise TypeError(f"{kind} has no batched form")


def set_offset(view: RowView, offset: mx.array) -> None:
    """Say where every row's new token stands."""
    if isinstance(view, KVRows):
        view.offset = offset
    elif isinstance(view, ListRows):
        for member in view.members:
            set_offset(member, offset)


def loop_attention(model: nn.Module) -> None:
    """For attention that does more with keys than hand them on: run the whole layer row by row.

    The linear layers outside of attention still see all rows as a batch.
    """
    for kind in {type(m) for _, m in model.named_modules() if "Attention" in type(m).__name__}:
        if not hasattr(kind, "row_by_row"):
            _loop(kind)


def _loop(kind: Any) -> None:
    original = kind.__call__

    def call(self: Any, x: mx.array, *args: Any, **kwargs: Any) -> Any:
        views = [a for a in (*args, *kwargs.values()) if isinstance(a, KVRows)]
        if not views:
            return original(self, x, *args, **kwargs)
        return mx.concatenate(
            [
                original(
                    self,
                    row,
                    *(_of_row(a, i) for a in args),
                    **{name: _of_row(a, i) for name, a in kwargs.items()},
                )
                for i, row in enumerate(_apart(x))
            ]
        )

    kind.__call__, kind.row_by_row = call, True


def _of_row(argument: Any, row: int) -> Any:
    """What one row is given of what all are: its own cache and mask."""
    if isinstance(argument, KVRows):
        return argument.rows[row]
    return argument[row] if isinstance(argument, RowMasks) else argument


def replace_attention(base: Any) -> None:
    """Teach `mlx_lm.models.base` attention over rows; everything else goes to the original."""
    original = base.scaled_dot_product_attention

    def attention(
        queries: mx.array,
        keys: Any,
        values: Any,
        cache: Any,
        scale: float,
        mask: Any,
        sinks: mx.array | None = None,
    ) -> mx.array:
        if not isinstance(keys, RowArrays):
            return original(queries, keys, values, cache, scale, mask, sinks)
        masks = mask if isinstance(mask, RowMasks) else [mask] * len(keys)
        return row_attention.ATTEND(queries, keys, values, scale, masks, sinks)

    base.scaled_dot_product_attention = attention
