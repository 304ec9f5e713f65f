"""Values that fit no MLX format exactly, put where the squared error is least.

The scale is rounded to its stored type first and codes are chosen against the rounded one.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from converters.gguf.blocks.format import Floats, Packed, Quantization, Rounding
from converters.gguf.blocks.pack import pack

SHRINK = (
    1.0,
    0.9,
)  # of the range that the first guess spans: outliers may cost less than coarse steps
TINY = np.float32(1e-30)


def affine(values: Floats, target: Quantization, rounding: Rounding) -> Packed:
    """float32 [n, …] of whole blocks → scale and bias per group by least squares."""
    count = len(values)
    groups = values.reshape(-1, target.group_size)
    best = _fit(groups, SHRINK[0], target.bits, rounding)
    for share in SHRINK[1:]:
        other = _fit(groups, share, target.bits, rounding)
        better = other.error < best.error
        best = _Fit(*(np.where(_like(better, o), o, b) for o, b in zip(other, best, strict=True)))
    return Packed(
        pack(best.codes.reshape(count, -1), target.bits),
        best.scales.reshape(count, -1),
        best.biases.reshape(count, -1),
    )


class _Fit(NamedTuple):
    codes: NDArray[np.uint8]
    scales: Floats
    biases: Floats
    error: Floats


def _like(mask: NDArray[np.bool_], array: NDArray[np.generic]) -> NDArray[np.bool_]:
    return mask.reshape(mask.shape + (1,) * (array.ndim - 1))


def _fit(groups: Floats, share: float, bits: int, rounding: Rounding) -> _Fit:
    """Codes for a guessed scale; the best scale and bias for those codes; codes again."""
    top = (1 << bits) - 1
    low, high = groups.min(axis=1), groups.max(axis=1)
    middle, reach = (low + high) / 2, (high - low) / 2 * np.float32(share)
    codes = _codes(groups, 2 * reach / top, middle - reach, top)
    scales, biases = _regression(codes, groups)
    scales, biases = rounding(scales), rounding(biases)
    codes = _codes(groups, scales, biases, top)
    residue = codes * scales[:, None] + biases[:, None] - groups
    return _Fit(codes.astype(np.uint8), scales, biases, np.einsum("ij,ij->i", residue, residue))


def _codes(groups: Floats, scales: Floats, biases: Floats, top: int) -> Floats:
    inverse = np.where(scales > TINY, 1 / np.maximum(scales, TINY), 0)
    codes = (groups - biases[:, None]) * inverse[:, None]
    return np.clip(np.rint(codes, out=codes), 0, top, out=codes)


def _regression(codes: Floats, groups: Floats) -> tuple[Floats, Floats]:
    """The line through (code, value) with the least squared error; a flat group is its mean."""
    mean_code, mean = codes.mean(axis=1), groups.mean(axis=1)
    centred = codes - mean_code[:, None]
    spread = np.einsum("ij,ij->i", centred, centred)
    slope = np.einsum("ij,ij->i", centred, groups) / np.maximum(spread, TINY)
    return slope, mean - slope * mean_code


def on_lattice(values: Floats, scales: Floats, target: Quantization, rounding: Rounding) -> Packed:
    """Values that are integers times `scales` (one a group of 16), on a symmetric 8-bit grid.

    The step divides the larger scale of a target group, so those values stay exact; it is the finest such
    step that spans the group. float32 [n, …] of whole blocks.
    """
    count = len(values)
    groups = values.reshape(-1, target.group_size)
    finest = np.maximum(groups.max(axis=1) / 127, groups.min(axis=1) / -128)
    larger = np.abs(scales).reshape(len(groups), -1).max(axis=1)
    parts = np.floor(larger / np.maximum(finest, TINY) + 1e-4)
    steps = rounding(np.maximum(larger / np.maximum(parts, 1), finest))
    codes = groups * (1 / np.maximum(steps, TINY))[:, None]
    codes = np.clip(np.rint(codes, out=codes), -128, 127, out=codes)
    codes += 128
    steps = steps.reshape(count, -1)
    return Packed(codes.astype(np.uint8).reshape(count, -1), steps, -128 * steps)
