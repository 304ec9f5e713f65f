"""IQ1_S, IQ1_M, IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S: runs of 4 or 8 values from ggml's codebooks.

Those with a scale per 32 values fit an MLX format exactly, since codebook entries are small integers (or
even steps between them); those with a scale per 16 are requantised. Block layouts: ggml-common.h.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.gguf.blocks.format import (
    Bytes,
    Floats,
    Format,
    Packed,
    Quantization,
    Rounding,
    ValuesOf,
    half,
)
from converters.gguf.blocks.pack import pack
from converters.gguf.blocks.requantize import affine

REQUANTISED = Quantization(4, 32)
DELTA = 0.125  # IQ1's shift of a whole run


@cache
def codebook(name: str) -> NDArray[np.int16]:
    """[entries, 4 or 8], from the gguf package."""
    from gguf import quants

    table = getattr(quants, name)
    table.init_grid()
    return table.grid.reshape(table.grid_shape).astype(np.int16)


@cache
def _even_signs() -> NDArray[np.int16]:
    """[128, 8] of ±1: seven bits as they are, the eighth so that an even number is negative."""
    bits = np.arange(128)[:, None] >> np.arange(7) & 1
    parity = bits.sum(axis=1, keepdims=True) & 1
    return (1 - 2 * np.concatenate([bits, parity], axis=1)).astype(np.int16)


def _signs(packed: Bytes) -> NDArray[np.int16]:
    """[..., m] → [..., m, 8] of ±1."""
    bits = np.unpackbits(np.ascontiguousarray(packed), axis=-1, bitorder="little")
    return (1 - 2 * bits.astype(np.int16)).reshape(*packed.shape, 8)


def _nibbles(packed: Bytes) -> NDArray[np.int16]:
    """[n, m] → [n, 2m], low first."""
    return (
        (packed[..., None] >> np.array([0, 4], np.uint8) & 15)
        .reshape(len(packed), -1)
        .astype(np.int16)
    )


def iq2_xxs(blocks: Bytes, _: Rounding) -> Packed:
    words = blocks[:, 2:].copy().view("<u4").reshape(-1, 8, 2)
    runs = words[:, :, :1].copy().view(np.uint8)
    signs = words[:, :, 1:] >> np.array([0, 7, 14, 21], np.uint32) & 127
    values = codebook("IQ2_XXS")[runs] * _even_signs()[signs]
    scales = half(blocks[:, :2]) * (2 * (words[:, :, 1] >> 28) + 1).astype(np.float32) * 0.125
    return Packed((values + 128).astype(np.uint8).reshape(len(blocks), -1), scales, -128 * scales)


def iq3_xxs(blocks: Bytes, _: Rounding) -> Packed:
    """Entries are even, up to 62: half of them fits 6 bits."""
    runs = blocks[:, 2:66].reshape(-1, 8, 8)
    words = blocks[:, 66:].copy().view("<u4")
    signs = words[:, :, None] >> np.array([0, 7, 14, 21], np.uint32) & 127
    values = codebook("IQ3_XXS")[runs].reshape(-1, 8, 4, 8) * _even_signs()[signs]
    codes = (values // 2 + 32).astype(np.uint8).reshape(len(blocks), -1)
    scales = half(blocks[:, :2]) * (2 * (words >> 28) + 1).astype(np.float32) * 0.5
    return Packed(pack(codes, 6), scales, -32 * scales)


def iq3_s(blocks: Bytes, _: Rounding) -> Packed:
    """Entries are odd, up to 15: with signs, sixteen even steps."""
    ninth = np.unpackbits(blocks[:, 66:74].copy(), axis=-1, bitorder="little").astype(np.uint16)
    runs = blocks[:, 2:66] | ninth << 8
    values = codebook("IQ3_S")[runs].reshape(-1, 32, 8) * _signs(blocks[:, 74:106])
    codes = ((values + 15) // 2).astype(np.uint8).reshape(len(blocks), -1)
    scales = half(blocks[:, :2]) * (2 * _nibbles(blocks[:, 106:110]) + 1)
    return Packed(pack(codes, 4), 2 * scales, -15 * scales)


def iq1_s(blocks: Bytes, _: Rounding) -> Packed:
    high = blocks[:, 34:].copy().view("<u2")
    top = high[:, :, None] >> np.array([0, 3, 6, 9], np.uint16) & 7
    runs = blocks[:, 2:34].reshape(-1, 8, 4) | top << 8
    codes = (codebook("IQ1_S")[runs] + 1).astype(np.uint8).reshape(len(blocks), -1)
    scales = half(blocks[:, :2]) * (2 * (high >> 12 & 7) + 1)
    shift = np.where(high & 0x8000, -DELTA, DELTA).astype(np.float32)
    return Packed(pack(codes, 2), scales, scales * (shift - 1))


def iq2_xs_values(blocks: Bytes) -> Floats:
    words = blocks[:, 2:66].copy().view("<u2")
    values = codebook("IQ2_XS")[words & 511] * _even_signs()[words >> 9]
    return _by_sixteen(values, _iq2_scales(blocks[:, :2], blocks[:, 66:]))


def iq2_s_values(blocks: Bytes) -> Floats:
    top = (blocks[:, 66:74, None] >> np.array([0, 2, 4, 6], np.uint8) & 3).reshape(-1, 32)
    runs = blocks[:, 2:34] | top.astype(np.uint16) << 8
    values = codebook("IQ2_S")[runs] * _signs(blocks[:, 34:66])
    return _by_sixteen(values, _iq2_scales(blocks[:, :2], blocks[:, 74:]))


def _iq2_scales(scale: Bytes, nibbles: Bytes) -> Floats:
    """[n, 16]: one a group of 16."""
    return half(scale) * (2 * _nibbles(nibbles) + 1) * np.float32(0.125)


def iq1_m_values(blocks: Bytes) -> Floats:
    """The float16 scale lies in the top nibbles of four words, whose rest are 3-bit scales."""
    words = blocks[:, 48:].copy().view("<u2")
    pieces = words >> 12 << np.array([0, 4, 8, 12], np.uint16)
    scale = np.bitwise_or.reduce(pieces, axis=1, keepdims=True).view("<f2").astype(np.float32)
    scales = scale * (2 * (words[:, :, None] >> np.array([0, 3, 6, 9], np.uint16) & 7) + 1).reshape(
        -1, 16
    )
    high = _nibbles(blocks[:, 32:48])
    runs = blocks[:, :32] | (high & 7) << 8
    shift = np.where(high & 8, -DELTA, DELTA).astype(np.float32)
    values = codebook("IQ1_S")[runs] + shift[..., None]
    return _by_sixteen(values, scales)


def _by_sixteen(values: NDArray[Any], scales: Floats) -> Floats:
    floats = values.reshape(len(scales), 16, 16) * scales[..., None]
    return floats.astype(np.float32, copy=False).reshape(len(scales), -1)


def _requantised(values: ValuesOf) -> Format:
    def repack(blocks: Bytes, rounding: Rounding) -> Packed:
        return affine(values(blocks), REQUANTISED, rounding)

    return Format(repack, REQUANTISED, values)


FORMATS = {
    "IQ1_S": Format(iq1_s, Quantization(2, 32)),
    "IQ1_M": _requantised(iq1_m_values),
    "IQ2_XXS": Format(iq2_xxs, Quantization(8, 32)),
    "IQ2_XS": _requantised(iq2_xs_values),
    "IQ2_S": _requantised(iq2_s_values),
    "IQ3_XXS": Format(iq3_xxs, Quantization(6, 32)),
    "IQ3_S": Format(iq3_s, Quantization(4, 32)),
}
