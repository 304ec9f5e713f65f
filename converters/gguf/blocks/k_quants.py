"""Q4_K and Q5_K: eight groups of 32 with 6-bit scales and minima; exact.

Q2_K, Q3_K and Q6_K have groups of 16. Q3_K fits MLX's 8 bits exactly: scale times value is an integer of at
most 128. Q6_K and Q2_K fit nothing that MLX has, so they are requantised.
"""

import numpy as np
from numpy.typing import NDArray

from converters.gguf.blocks.format import (
    Bytes,
    Floats,
    Format,
    Packed,
    Quantization,
    Rounding,
    half,
)
from converters.gguf.blocks.pack import pack, part_nibbles
from converters.gguf.blocks.requantize import affine, on_lattice


def q4_k(blocks: Bytes, _: Rounding) -> Packed:
    scales, minima = _scales_and_minima(blocks[:, :16])
    words = blocks.view("<u8")[:, 2:].ravel()  # four times 32 bytes: 32 low, then 32 high nibbles
    low, high = part_nibbles(words)
    codes = np.empty((len(blocks), 4, 2, 4), "<u4")
    codes[:, :, 0], codes[:, :, 1] = low.reshape(-1, 4, 4), high.reshape(-1, 4, 4)
    return Packed(codes.reshape(len(blocks), -1).view(np.uint8), scales, minima)


def q5_k(blocks: Bytes, _: Rounding) -> Packed:
    scales, minima = _scales_and_minima(blocks[:, :16])
    fifth, nibbles = blocks[:, 16:48], blocks[:, 48:].reshape(-1, 4, 32)
    codes = np.empty((len(blocks), 4, 2, 32), np.uint8)
    for i in range(4):
        codes[:, i, 0] = (nibbles[:, i] & 15) | ((fifth >> (2 * i)) & 1) << 4
        codes[:, i, 1] = (nibbles[:, i] >> 4) | ((fifth >> (2 * i + 1)) & 1) << 4
    return Packed(pack(codes.reshape(len(blocks), -1), 5), scales, minima)


def q3_k(blocks: Bytes, _: Rounding) -> Packed:
    """Products of 6-bit scale and 3-bit value lie in -124..128; with their sign turned they fit 8 bits
    around a power of two, which keeps the bias exact when scales are rounded."""
    scale = half(blocks[:, 108:110])
    values = _two_bits(blocks[:, 32:96]) - 4 * (1 - _one_bit(blocks[:, :32]))
    products = values.reshape(-1, 16, 16) * _q3_scales(blocks[:, 96:108])[:, :, None]
    codes = (128 - products.reshape(len(blocks), -1)).astype(np.uint8)
    scales = np.repeat(-scale, 2, axis=1)
    return Packed(codes, scales, -128 * scales)


def q2_k_values(blocks: Bytes) -> Floats:
    scale_and_minimum = half(blocks[:, 80:84])
    nibbles = blocks[:, :16]
    scales: Floats = scale_and_minimum[:, :1] * (nibbles & 15)
    minima: Floats = scale_and_minimum[:, 1:] * (nibbles >> 4)
    codes = _two_bits(blocks[:, 16:80]).reshape(-1, 16, 16).astype(np.float32)
    values: Floats = codes * scales[..., None] - minima[..., None]
    return values.reshape(len(blocks), -1)


def q2_k(blocks: Bytes, rounding: Rounding) -> Packed:
    return affine(q2_k_values(blocks), Q2_TARGET, rounding)


def q6_k(blocks: Bytes, rounding: Rounding) -> Packed:
    scales = _q6_scales(blocks)
    return on_lattice(_q6_values(blocks, scales), scales, Q6_TARGET, rounding)


def q6_k_values(blocks: Bytes) -> Floats:
    return _q6_values(blocks, _q6_scales(blocks))


def _q6_scales(blocks: Bytes) -> Floats:
    """[n, 16]: one a group of 16."""
    return half(blocks[:, 208:210]) * blocks[:, 192:208].view(np.int8)


def _q6_values(blocks: Bytes, scales: Floats) -> Floats:
    low, high = blocks[:, :128].reshape(-1, 2, 64), blocks[:, 128:192].reshape(-1, 2, 32)
    codes = np.empty((len(blocks), 2, 4, 32), np.uint8)
    codes[:, :, 0] = (low[:, :, :32] & 15) | (high & 3) << 4
    codes[:, :, 1] = (low[:, :, 32:] & 15) | (high >> 2 & 3) << 4
    codes[:, :, 2] = (low[:, :, :32] >> 4) | (high >> 4 & 3) << 4
    codes[:, :, 3] = (low[:, :, 32:] >> 4) | (high >> 6) << 4
    values = codes.reshape(-1, 16, 16).astype(np.float32)
    values -= 32
    values *= scales[..., None]
    return values.reshape(len(blocks), -1)


def _scales_and_minima(head: Bytes) -> tuple[Floats, Floats]:
    """[n, 16] → scales and biases [n, 8]: two float16, then 6-bit numbers, the last four split in two."""
    both = half(head[:, :4])
    first, second, third = head[:, 4:8], head[:, 8:12], head[:, 12:16]
    scales = np.concatenate([first & 63, (third & 15) | (first >> 2 & 0x30)], axis=1)
    minima = np.concatenate([second & 63, (third >> 4) | (second >> 2 & 0x30)], axis=1)
    return both[:, :1] * scales, -both[:, 1:] * minima


def _two_bits(packed: Bytes) -> NDArray[np.int32]:
    """[n, 64] → values 0..3 [n, 256]: 32 bytes give four runs of 32."""
    shifts = np.array([0, 2, 4, 6], np.uint8)[:, None]
    return (packed.reshape(-1, 2, 1, 32) >> shifts & 3).reshape(-1, 256).astype(np.int32)


def _one_bit(packed: Bytes) -> NDArray[np.int32]:
    """[n, 32] → values 0, 1 [n, 256]: each byte has one bit of every run of 32."""
    shifts = np.arange(8, dtype=np.uint8)[:, None]
    return (packed.reshape(-1, 1, 32) >> shifts & 1).reshape(-1, 256).astype(np.int32)


def _q3_scales(packed: Bytes) -> NDArray[np.int32]:
    """[n, 12] → sixteen 6-bit numbers, less 32."""
    low = np.concatenate([packed[:, :8] & 15, packed[:, :8] >> 4], axis=1)
    shifts = np.array([0, 2, 4, 6], np.uint8)[:, None]
    high = (packed[:, None, 8:12] >> shifts & 3).reshape(-1, 16)
    return (low | high << 4).astype(np.int32) - 32


Q2_TARGET = Quantization(4, 32)
Q6_TARGET = Quantization(8, 32)
FORMATS = {
    "Q2_K": Format(q2_k, Q2_TARGET, q2_k_values),
    "Q3_K": Format(q3_k, Quantization(8, 128)),
    "Q4_K": Format(q4_k, Quantization(4, 32)),
    "Q5_K": Format(q5_k, Quantization(5, 32)),
    "Q6_K": Format(q6_k, Q6_TARGET, q6_k_values),
}
