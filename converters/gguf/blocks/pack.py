"""Codes to MLX's layout: a little-endian bit stream along each row."""

import numpy as np

from converters.gguf.blocks.format import Bytes


def pack(codes: Bytes, bits: int) -> Bytes:
    """uint8 codes [..., n] (each < 2^bits, n · bits a multiple of 8) → bytes [..., n · bits / 8]."""
    if bits == 8:
        return codes
    if bits in (2, 4):
        return _pack_within_bytes(codes, bits)
    per_unit = 4 if bits == 6 else 8
    units = codes.reshape(*codes.shape[:-1], -1, per_unit)
    out = np.zeros((*units.shape[:-1], per_unit * bits // 8), np.uint8)
    for i in range(per_unit):
        byte, shift = divmod(i * bits, 8)
        out[..., byte] |= units[..., i] << shift
        if shift + bits > 8:
            out[..., byte + 1] |= units[..., i] >> (8 - shift)
    return out.reshape(*codes.shape[:-1], -1)


def _pack_within_bytes(codes: Bytes, bits: int) -> Bytes:
    per_byte = 8 // bits
    out = codes[..., 0::per_byte].copy()
    for i in range(1, per_byte):
        out |= codes[..., i::per_byte] << (i * bits)
    return out


def unpack(packed: Bytes, bits: int) -> Bytes:
    """The inverse of `pack`: bytes [..., m] → codes [..., 8m / bits]."""
    bit_rows = np.unpackbits(packed, axis=-1, bitorder="little")
    grouped = bit_rows.reshape(*packed.shape[:-1], -1, bits)
    padded = np.zeros((*grouped.shape[:-1], 8), np.uint8)
    padded[..., :bits] = grouped
    return np.packbits(padded, axis=-1, bitorder="little")[..., 0]


def nibbles_in_order(halves: Bytes) -> Bytes:
    """ggml keeps values j and j + 16 in one byte; MLX wants neighbours. [n, 16] → [n, 16]."""
    words = np.ascontiguousarray(halves).view("<u8")  # [n, 2]: 8 bytes = 8 low and 8 high nibbles
    low = _squeeze(words & 0x0F0F0F0F0F0F0F0F)
    high = _squeeze((words >> 4) & 0x0F0F0F0F0F0F0F0F)
    out = np.empty((len(words), 4), "<u4")
    out[:, 0:2], out[:, 2:4] = low, high
    return out.view(np.uint8)


def _squeeze(words: np.ndarray) -> np.ndarray:
    """Eight nibbles, one a byte of a 64-bit word, to 32 bits in place of 64."""
    words = (words | (words >> 4)) & 0x00FF00FF00FF00FF
    words = (words | (words >> 8)) & 0x0000FFFF0000FFFF
    return (words | (words >> 16)).astype("<u4")
