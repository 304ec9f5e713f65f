"""NVFP4 in its two dialects: 4-bit floats, an FP8 scale for 16 of them, one more scale for all."""

from collections.abc import Callable

import numpy as np

from converters.inventory import Tensor
from converters.safetensors.arrays import Array, read_array
from converters.weights import Packed, Packing, Step

PACKING = Packing(name="nvfp4", group_size=16)


def step(
    name: str, packed: Tensor, scale: Tensor, whole: Tensor, as_factor: Callable[[float], float]
) -> Step:
    """`whole`: the scale of all; `as_factor` makes it what the others are multiplied by."""

    def make() -> Packed:
        factor = as_factor(float(read_array(whole).floats().reshape(-1)[0]))
        return Packed(
            packing=PACKING,
            weight=words(read_array(packed)),
            scale=Array("U8", read_array(scale).data),
            global_scale=Array("F32", np.array([factor], np.float32)),
        )

    shape = (*packed.shape[:-1], packed.shape[-1] * 2)
    return Step(name=name, shape=shape, size=packed.size, make=make, is_packed=True)


def words(bytes_: Array) -> Array:
    """Two codes a byte, the first in its low half, are MLX's words already."""
    return Array("U32", np.ascontiguousarray(bytes_.data).view("<u4"))
