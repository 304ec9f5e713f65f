"""TQ1_0 and TQ2_0: -1, 0, 1 with one float16 scale per 256 values."""

import numpy as np
from numpy.typing import NDArray

from converters.gguf.blocks.format import Bytes, Format, Packed, Quantization, Rounding, half
from converters.gguf.blocks.pack import pack

TARGET = Quantization(2, 128)


def tq1_0(blocks: Bytes, _: Rounding) -> Packed:
    """Five values a byte in base 3, most significant first, as a fraction of 256."""
    codes = [_trits(blocks[:, :32], 5), _trits(blocks[:, 32:48], 5), _trits(blocks[:, 48:52], 4)]
    return _packed(np.concatenate(codes, axis=1), blocks[:, 52:])


def tq2_0(blocks: Bytes, _: Rounding) -> Packed:
    shifts = np.array([0, 2, 4, 6], np.uint8)[:, None]
    codes = blocks[:, :64].reshape(-1, 2, 1, 32) >> shifts & np.uint8(3)
    return _packed(codes.reshape(len(blocks), -1), blocks[:, 64:])


def _trits(packed: Bytes, count: int) -> Bytes:
    """[n, m] → [n, count · m]: the first trit of every byte, then the second …"""
    powers = np.array([3**i for i in range(count)], np.uint8)[:, None]
    shifted: NDArray[np.uint16] = (packed[:, None] * powers).astype(np.uint16)  # modulo 256
    return (shifted * 3 >> 8).astype(np.uint8).reshape(len(packed), -1)


def _packed(codes: Bytes, scale: Bytes) -> Packed:
    scales = np.repeat(half(scale), 2, axis=1)
    return Packed(pack(codes, 2), scales, -scales)


FORMATS = {"TQ1_0": Format(tq1_0, TARGET), "TQ2_0": Format(tq2_0, TARGET)}
