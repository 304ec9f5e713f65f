"""Attention within square windows of a picture, all windows at once."""

from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import numpy as np


@dataclass(frozen=True, kw_only=True)
class Windows:
    """`members` (windows, size): patch numbers, padded; `valid` says which are real; `back` (patches,) is where
    each patch lies in the flattened members."""

    members: mx.array
    valid: mx.array
    back: mx.array

    def attend(self, q: mx.array, k: mx.array, v: mx.array, scale: float) -> mx.array:
        """(patches, heads, width) each; a patch sees those of its own window."""
        q, k, v = (part[self.members].transpose(0, 2, 1, 3) for part in (q, k, v))
        mask = self.valid[:, None, None, :]
        out = mx.fast.scaled_dot_product_attention(q, k, v, scale=scale, mask=mask)
        out = out.transpose(0, 2, 1, 3)
        return out.reshape(-1, *out.shape[2:])[self.back]


def windows_of(grid: tuple[int, int], side: int, merge: int) -> Windows:
    """Windows of `side` by `side` merged squares; patches are numbered square by square."""
    rows, columns = np.indices(grid)
    window = (rows // side) * -(-grid[1] // side) + columns // side
    of_patch = np.repeat(window.reshape(-1), merge * merge)
    return _gathered(of_patch)


def _gathered(of_patch: np.ndarray[Any, Any]) -> Windows:
    order = np.argsort(of_patch, kind="stable")
    counts = np.bincount(of_patch)
    size = int(counts.max())
    starts = np.cumsum(counts) - counts
    slots = np.arange(size)[None]
    valid = slots < counts[:, None]
    members = np.where(valid, order[np.minimum(starts[:, None] + slots, len(order) - 1)], 0)
    back = np.empty(len(of_patch), dtype=np.int32)
    back[members[valid]] = np.flatnonzero(valid.reshape(-1))
    return Windows(members=mx.array(members), valid=mx.array(valid.tolist()), back=mx.array(back))
