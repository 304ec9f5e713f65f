"""IQ4_NL and IQ4_XS: sixteen uneven levels, all of them 8-bit integers, so 8 bits hold them exactly."""

import numpy as np

from converters.gguf.blocks.format import (
    Bytes,
    Floats,
    Format,
    Packed,
    Quantization,
    Rounding,
    half,
)

LEVELS = np.array(
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.int16
)  # ggml's kvalues_iq4nl
CODES = (LEVELS + 128).astype(np.uint8)
TARGET = Quantization(8, 32)


def iq4_nl(blocks: Bytes, _: Rounding) -> Packed:
    return _packed(blocks[:, 2:], half(blocks[:, :2]))


def iq4_xs(blocks: Bytes, _: Rounding) -> Packed:
    """256: float16, eight 6-bit scales (high pairs first), nibbles."""
    high = blocks[:, 2:4].copy().view("<u2") >> np.arange(0, 16, 2, dtype=np.uint16) & 3
    low = (blocks[:, 4:8, None] >> np.array([0, 4], np.uint8) & 15).reshape(-1, 8)
    scales = half(blocks[:, :2]) * ((low | high << 4).astype(np.int16) - 32)
    return _packed(blocks[:, 8:], scales)


def _packed(nibbles: Bytes, scales: Floats) -> Packed:
    groups = nibbles.reshape(len(nibbles), -1, 16)
    codes = np.concatenate([CODES[groups & 15], CODES[groups >> 4]], axis=-1)
    return Packed(codes.reshape(len(nibbles), -1), scales, -128 * scales)


FORMATS = {"IQ4_NL": Format(iq4_nl, TARGET), "IQ4_XS": Format(iq4_xs, TARGET)}
