"""Q4_0, Q4_1, Q5_0, Q5_1, Q8_0: one float16 scale (and minimum) per 32 values."""

import numpy as np

from converters.gguf.blocks.format import Bytes, Format, Packed, Quantization, Rounding, half
from converters.gguf.blocks.pack import nibbles_in_order, pack


def q4_0(blocks: Bytes, _: Rounding) -> Packed:
    scale = half(blocks[:, :2])
    return Packed(nibbles_in_order(blocks, 2), scale, -8 * scale)


def q4_1(blocks: Bytes, _: Rounding) -> Packed:
    scale_and_minimum = half(blocks[:, :4])
    codes = nibbles_in_order(blocks, 4)
    return Packed(codes, scale_and_minimum[:, :1], scale_and_minimum[:, 1:])


def q5_0(blocks: Bytes, _: Rounding) -> Packed:
    scale = half(blocks[:, :2])
    return Packed(_five_bits(blocks[:, 2:6], blocks[:, 6:]), scale, -16 * scale)


def q5_1(blocks: Bytes, _: Rounding) -> Packed:
    scale_and_minimum = half(blocks[:, :4])
    codes = _five_bits(blocks[:, 4:8], blocks[:, 8:])
    return Packed(codes, scale_and_minimum[:, :1], scale_and_minimum[:, 1:])


def q8_0(blocks: Bytes, _: Rounding) -> Packed:
    scale = half(blocks[:, :2])
    return Packed(blocks[:, 2:] ^ np.uint8(0x80), scale, -128 * scale)


def _five_bits(fifth: Bytes, nibbles: Bytes) -> Bytes:
    codes = np.unpackbits(np.ascontiguousarray(fifth), axis=-1, bitorder="little") << np.uint8(4)
    codes[:, :16] |= nibbles & 15
    codes[:, 16:] |= nibbles >> 4
    return pack(codes, 5)


FORMATS = {
    "Q4_0": Format(q4_0, Quantization(4, 32)),
    "Q4_1": Format(q4_1, Quantization(4, 32)),
    "Q5_0": Format(q5_0, Quantization(5, 32)),
    "Q5_1": Format(q5_1, Quantization(5, 32)),
    "Q8_0": Format(q8_0, Quantization(8, 32)),
}
