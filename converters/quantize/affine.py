"""Affine quantisation by least squares: w ≈ scale · code + bias, a scale and a bias for each group of a row.

MLX's own takes a group's extremes; fitting scale and bias to the rounded codes, and the codes to those, a few times,
cuts the KL divergence by a third at the same size.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.rounding import rounding
from converters.safetensors.arrays import Array, as_stored
from converters.stream import num_workers
from converters.weights import Packed, Packing

ROUNDS = 6
CHUNK_VALUES = 1 << 18  # of float32: a chunk and what is made of it stay in the cache
Floats = NDArray[np.float32]


def quantize(weight: Array, bits: int, group_size: int) -> Packed:
    """Scales and biases have the weight's own dtype."""
    rows = weight.data.reshape(-1, weight.data.shape[-1])
    step = max(1, CHUNK_VALUES // rows.shape[1])
    chunks = [Array(weight.dtype, rows[i : i + step]) for i in range(0, len(rows), step)]
    with ThreadPoolExecutor(num_workers()) as pool:
        made = [*pool.map(lambda chunk: _quantize_rows(chunk, bits, group_size), chunks)]
    front = weight.data.shape[:-1]
    words, scales, biases = (
        np.concatenate(parts).reshape(*front, -1) for parts in zip(*made, strict=True)
    )
    return Packed(
        packing=Packing(name=f"int{bits}", group_size=group_size),
        weight=Array("U32", words),
        scale=Array(weight.dtype, scales),
        bias=Array(weight.dtype, biases),
    )


def _quantize_rows(rows: Array, bits: int, group_size: int) -> tuple[NDArray[Any], ...]:
    values = rows.floats().reshape(-1, group_size)
    as_kept = rounding(rows.dtype)
    scale, bias = fit(values, (1 << bits) - 1)
    scale, bias = as_kept(scale), as_kept(bias)
    codes = encode(values, scale, bias, (1 << bits) - 1).astype(np.uint8)
    count = len(rows.data)
    return (
        pack(codes.reshape(count, -1), bits),
        as_stored(scale, rows.dtype).data.reshape(count, -1),
        as_stored(bias, rows.dtype).data.reshape(count, -1),
    )


def fit(values: Floats, top: int) -> tuple[Floats, Floats]:
    """(groups,) scales and biases for values (groups, n) and codes 0 … top; the best of a few rounds."""
    low, high = values.min(1), values.max(1)
    scale, bias = _nonzero((high - low) / top), low
    codes = encode(values, scale, bias, top)
    best, error = (scale, bias), _error(values, codes, scale, bias)
    for _ in range(ROUNDS):
        scale, bias = _least_squares(values, codes, scale, bias)
        codes = encode(values, scale, bias, top)
        now = _error(values, codes, scale, bias)
        better = now < error
        best = (np.where(better, scale, best[0]), np.where(better, bias, best[1]))
        error = np.where(better, now, error)
    return best


def _nonzero(scale: Floats) -> Floats:
    """A constant group has no range; any scale will do."""
    return np.where(np.abs(scale) > 0, scale, np.float32(1))


def encode(values: Floats, scale: Floats, bias: Floats, top: int) -> Floats:
    with np.errstate(over="ignore", invalid="ignore"):
        codes = values - bias[:, None]
        codes /= _nonzero(scale)[:, None]
    np.rint(codes, out=codes)
    np.nan_to_num(codes, copy=False)
    return np.clip(codes, 0, top, out=codes)


def _error(values: Floats, codes: Floats, scale: Floats, bias: Floats) -> Floats:
    off = codes * scale[:, None]
    off += bias[:, None]
    off -= values
    return np.einsum("gi,gi->g", off, off)


def _least_squares(
    values: Floats, codes: Floats, scale: Floats, bias: Floats
) -> tuple[Floats, Floats]:
    """The line through (code, value); unchanged where all codes are equal."""
    code_mean, value_mean = codes.mean(1), values.mean(1)
    spread = codes - code_mean[:, None]
    square = np.einsum("gi,gi->g", spread, spread)
    slope = np.einsum("gi,gi->g", spread, values) / np.where(square > 0, square, 1)
    usable = (square > 0) & (np.abs(slope) > 0)
    scale = np.where(usable, slope, scale)
    return scale, np.where(usable, value_mean - scale * code_mean, bias)


def pack(codes: NDArray[np.uint8], bits: int) -> NDArray[np.uint32]:
    """(rows, columns) codes to uint32 words, the first code in the lowest bits."""
    if bits == 8:
        return codes.view("<u4")
    if bits == 4:
        return np.ascontiguousarray(codes[:, ::2] | (codes[:, 1::2] << 4)).view("<u4")
    spread = np.unpackbits(codes[..., None], axis=-1, bitorder="little", count=bits)
    return np.packbits(spread.reshape(len(codes), -1), axis=-1, bitorder="little").view("<u4")
