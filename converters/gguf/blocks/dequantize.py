"""Blocks as floats, by way of what they become: for tensors that no class keeps quantised, and for measuring."""

import numpy as np

from converters.gguf.blocks.format import Bytes, Floats, Format, Packed, Quantization
from converters.gguf.blocks.pack import unpack
from converters.gguf.cursor import invalid


def dequantized(blocks: Bytes, form: Format) -> Floats:
    """uint8 [blocks, block bytes] → float32 [blocks, values]."""
    if form.values is not None:
        return form.values(blocks)
    return unpacked(form.repack(blocks, lambda scales: scales), form.becomes)


def unpacked(packed: Packed, kind: Quantization) -> Floats:
    """The values that MLX computes with."""
    if packed.biases is None:
        invalid(f"a {kind.mode} tensor where floats are needed")
    count = len(packed.codes)
    codes = unpack(packed.codes.reshape(count, -1), kind.bits).reshape(count, -1, kind.group_size)
    scales = packed.scales.reshape(count, -1, 1)
    biases = packed.biases.reshape(count, -1, 1)
    return (codes.astype(np.float32) * scales + biases).reshape(count, -1)
