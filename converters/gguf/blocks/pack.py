"""Codes to MLX's layout: a little-endian bit stream along each row."""

import numpy as np
from numpy.typing import NDArray

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


def nibbles_in_order(blocks: Bytes, at: int) -> Bytes:
    """The 16 bytes at `at` of each block; ggml keeps values j and j + 16 in one byte, MLX neighbours.

    [n, block bytes] → [n, 16]. Word by word over all blocks: numpy is slow over short rows.
    """
    words = np.dtype(
        {
            "names": ["a", "b"],
            "formats": ["<u8"] * 2,
            "offsets": [at, at + 8],
            "itemsize": blocks.shape[1],
        }
    )
    records = np.ascontiguousarray(blocks).view(words)[:, 0]
    out = np.empty((len(blocks), 4), "<u4")
    for i, name in enumerate("ab"):
        out[:, i], out[:, i + 2] = part_nibbles(records[name].astype("<u8"))
    return out.view(np.uint8)


def part_nibbles(words: NDArray[np.uint64]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """uint64 [n], eight bytes of two nibbles → their low nibbles and their high ones, 32 bits each.

    `words` is used up. The middle nibbles of each two bytes change places, then bytes are taken in turn.
    """
    moved = words >> np.uint64(4)
    moved ^= words
    moved &= MIDDLE
    words ^= moved
    moved <<= np.uint64(4)
    words ^= moved
    pairs = words.view("<u2")
    low = pairs.astype(np.uint8)
    pairs >>= np.uint16(8)
    return low.view("<u4"), pairs.astype(np.uint8).view("<u4")


MIDDLE = np.uint64(0x00F000F000F000F0)
