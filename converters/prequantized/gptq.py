"""GPTQ: codes packed along the inputs; inputs whose groups were reordered are decoded to bfloat16."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.errors import Unsupported
from converters.prequantized import settings_of
from converters.prequantized.companions import (
    Named,
    affine,
    companion,
    integers,
    with_companions,
)
from converters.safetensors.arrays import Array, as_stored, read_array
from converters.safetensors.checkpoint import Checkpoint
from converters.weights import Packed, Step

LEAVES = ("qweight", "qzeros", "scales", "g_idx")


def steps(checkpoint: Checkpoint) -> dict[str, Step]:
    settings = settings_of(checkpoint)
    bits = settings.get("bits", 4)
    if bits not in (4, 8):
        raise Unsupported(f"{bits}-bit GPTQ weights are not supported yet")
    # The first format of the file stores zeros less one.
    less = 0 if settings.get("checkpoint_format") == "gptq_v2" else 1
    return with_companions(
        checkpoint.tensors, LEAVES, "qweight", lambda name, parts: _step(name, parts, bits, less)
    )


def _step(name: str, parts: Named, bits: int, less: int) -> Step:
    """qweight (in · bits / 32, out), qzeros (groups, out · bits / 32), scales (groups, out)."""
    weight, zeros, scales = (companion(name, parts, leaf) for leaf in LEAVES[:3])
    inputs, outputs = weight.shape[0] * 32 // bits, weight.shape[1]
    order = parts.get("g_idx")

    def make() -> Array | Packed:
        codes = integers(np.ascontiguousarray(read_array(weight).data.T), bits)
        zero = integers(read_array(zeros).data, bits).T.astype(np.float32) + less
        scale = np.ascontiguousarray(read_array(scales).floats().T)
        group = -(-inputs // scale.shape[1])
        groups = read_array(order).data if order is not None else np.arange(inputs) // group
        if np.array_equal(groups, np.arange(inputs) // group):
            return affine(codes, scale, zero, bits=bits, group_size=group)
        return as_stored(_decoded(codes, scale, zero, groups), "BF16")

    return Step(name=name, shape=(outputs, inputs), size=weight.size, make=make, is_packed=True)


def _decoded(
    codes: NDArray[np.uint8], scale: Any, zero: Any, groups: NDArray[Any]
) -> NDArray[np.float32]:
    if len(groups) and not 0 <= groups.min() <= groups.max() < scale.shape[1]:
        raise Unsupported("a GPTQ weight names groups that it does not have")
    return scale[:, groups] * (codes.astype(np.float32) - zero[:, groups])
