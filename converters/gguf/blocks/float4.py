"""MXFP4 and NVFP4: MLX has both; only the order of nibbles differs."""

import numpy as np

from converters.gguf.blocks.format import Bytes, Format, Packed, Quantization, Rounding
from converters.gguf.blocks.pack import nibbles_in_order, part_nibbles

E4M3_NAN = 0x7F  # ggml counts it as zero


def mxfp4(blocks: Bytes, _: Rounding) -> Packed:
    return Packed(nibbles_in_order(blocks, 1), blocks[:, :1], None)


def mxfp4_pairs(blocks: Bytes, _: Rounding) -> Packed:
    """Ollama's first gpt-oss blobs: neighbours share a byte, as in the checkpoint and in MLX."""
    return Packed(blocks[:, 1:], blocks[:, :1], None)


def nvfp4(blocks: Bytes, _: Rounding) -> Packed:
    """64 values: four scales, then 8 bytes a group of 16, low nibbles first."""
    words = np.ascontiguousarray(blocks[:, 4:]).view("<u8").ravel()
    codes = np.stack(part_nibbles(words), axis=-1)
    scales = blocks[:, :4] & 0x7F  # ggml reads them without a sign
    scales[scales == E4M3_NAN] = 0
    return Packed(codes.reshape(len(blocks), -1).view(np.uint8), scales, None)


MX = Quantization(4, 32, "mxfp4")
FORMATS = {
    "MXFP4": Format(mxfp4, MX),
    "MXFP4_PAIRS": Format(mxfp4_pairs, MX),
    "NVFP4": Format(nvfp4, Quantization(4, 16, "nvfp4")),
}
