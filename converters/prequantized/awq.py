"""AWQ: 4-bit codes packed along the outputs, eight to a word in an order of their own."""

import numpy as np

from converters.errors import Unsupported
from converters.prequantized import settings_of
from converters.prequantized.companions import (
    Named,
    affine,
    companion,
    nibbles,
    with_companions,
)
from converters.safetensors.arrays import read_array
from converters.safetensors.checkpoint import Checkpoint
from converters.weights import Packed, Step

LEAVES = ("qweight", "qzeros", "scales")
ORDER = (0, 4, 1, 5, 2, 6, 3, 7)  # the nibble of each next output


def steps(checkpoint: Checkpoint) -> dict[str, Step]:
    settings = settings_of(checkpoint)
    if settings.get("bits", 4) != 4 or str(settings.get("version", "gemm")).lower() != "gemm":
        raise Unsupported("AWQ weights other than 4-bit GEMM are not supported yet")
    return with_companions(checkpoint.tensors, LEAVES, "qweight", _step)


def _step(name: str, parts: Named) -> Step:
    """qweight (in, out / 8), qzeros (groups, out / 8), scales (groups, out): w = scale · (code - zero)."""
    weight, zeros, scales = (companion(name, parts, leaf) for leaf in LEAVES)
    inputs, outputs = weight.shape[0], weight.shape[1] * 8

    def make() -> Packed:
        codes = nibbles(read_array(weight).data, ORDER).T
        zero = nibbles(read_array(zeros).data, ORDER).T.astype(np.float32)
        scale = np.ascontiguousarray(read_array(scales).floats().T)
        group = inputs // scale.shape[1]
        return affine(np.ascontiguousarray(codes), scale, zero, bits=4, group_size=group)

    return Step(name=name, shape=(outputs, inputs), size=weight.size, make=make, is_packed=True)
