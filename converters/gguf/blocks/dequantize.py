"""Blocks as floats, by way of what they become: for tensors that no class keeps quantised, and for measuring."""

import numpy as np

from converters.gguf.blocks.format import Bytes, Floats, Format, Packed, Quantization
from converters.gguf.blocks.pack import unpack


def dequantized(blocks: Bytes, form: Format) -> Floats:
    """uint8 [blocks, block bytes] → float32 [blocks, values]."""
    if form.values is not None:
        return form.values(blocks)
    return unpacked(form.repack(blocks, lambda scales: scales), form.becomes)


E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)


def _e8m0(scales: Bytes) -> Floats:
    return np.exp2(scales.astype(np.float32) - 127)


def _e4m3(scales: Bytes) -> Floats:
    exponent, mantissa = (scales >> 3).astype(np.float32), (scales & 7).astype(np.float32)
    normal = np.exp2(exponent - 7) * (1 + mantissa / 8)
    return np.where(exponent == 0, mantissa * np.float32(2**-9), normal)


SCALES_OF = {"mxfp4": _e8m0, "nvfp4": _e4m3}


def unpacked(packed: Packed, kind: Quantization) -> Floats:
    """The values that MLX computes with."""
    count = len(packed.codes)
    codes = unpack(packed.codes.reshape(count, -1), kind.bits).reshape(count, -1, kind.group_size)
    if packed.biases is None:
        scales = SCALES_OF[kind.mode](packed.scales).reshape(count, -1, 1)
        return (E2M1[codes] * scales).reshape(count, -1)
    scales = packed.scales.reshape(count, -1, 1)
    biases = packed.biases.reshape(count, -1, 1)
    return (codes.astype(np.float32) * scales + biases).reshape(count, -1)
