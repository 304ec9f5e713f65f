"""FP8 (E4M3) with a scale for each block, row or tensor: decoded to bfloat16, from which it can be quantised.

MLX's own 8-bit floats have a power of two for each 32 values, which cannot hold these scales.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.errors import InvalidSource, Unsupported
from converters.prequantized import settings_of
from converters.prequantized.companions import Named, with_companions
from converters.safetensors.arrays import Array, as_stored, read_array
from converters.safetensors.checkpoint import Checkpoint
from converters.weights import Step

LEAVES = ("weight", "weight_scale_inv", "weight_scale", "input_scale", "activation_scale")


def _e4m3() -> NDArray[np.float32]:
    """The value of each of the 256 codes."""
    code = np.arange(256)
    sign = np.where(code & 0x80, -1.0, 1.0)
    exponent, mantissa = (code >> 3) & 15, code & 7
    normal = (1 + mantissa / 8) * 2.0 ** (exponent - 7)
    values = sign * np.where(exponent == 0, mantissa / 8 * 2.0**-6, normal)
    values[(code & 0x7F) == 0x7F] = np.nan
    return values.astype(np.float32)


E4M3 = _e4m3()


def steps(checkpoint: Checkpoint) -> dict[str, Step]:
    sizes = settings_of(checkpoint).get("weight_block_size") or (128, 128)
    if len(sizes) != 2 or not all(type(n) is int and n > 0 for n in sizes):
        raise InvalidSource("bad weight_block_size")
    block = (int(sizes[0]), int(sizes[1]))
    if any(t.type == "F8_E5M2" for t in checkpoint.tensors.values()):
        raise Unsupported("E5M2 weights are not supported")
    return with_companions(
        checkpoint.tensors, LEAVES, "weight", lambda name, parts: decoded(name, parts, block)
    )


def decoded(name: str, parts: Named, block: tuple[int, int]) -> Step:
    """A weight as bfloat16, whether it is FP8 or was left as floats."""
    weight = parts["weight"]
    scale = parts.get("weight_scale_inv") or parts.get("weight_scale")

    def make() -> Array:
        array = read_array(weight)
        if array.dtype != "F8_E4M3":
            return array
        values = E4M3[array.data]
        if scale is not None:
            _multiply(values, read_array(scale).floats(), block)
        return as_stored(values, "BF16")

    return Step(name=name, shape=weight.shape, size=weight.size * 2, make=make)


def _multiply(values: NDArray[Any], scale: NDArray[np.float32], block: tuple[int, int]) -> None:
    """In place. `scale`: one number, one a row, or one a block."""
    rows, columns = values.shape
    if scale.size == 1:
        values *= scale.reshape(())
    elif scale.size == rows:
        values *= scale.reshape(rows, 1)
    elif scale.shape == (-(-rows // block[0]), -(-columns // block[1])):
        for index, row in enumerate(scale):
            part = values[index * block[0] : (index + 1) * block[0]]
            part *= np.repeat(row, block[1])[:columns]
    else:
        raise InvalidSource("the scales of an FP8 weight do not fit its shape")
