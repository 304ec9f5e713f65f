"""MLX's types of few-bit floats: mxfp4, mxfp8, nvfp4. The only importer of MLX here; runs in a converter process."""

from typing import Any

import numpy as np

from converters.safetensors.arrays import Array
from converters.weights import Packed, Packing

GROUP_SIZES = {"mxfp4": 32, "mxfp8": 32, "nvfp4": 16}


def quantize(weight: Array, mode: str) -> Packed:
    """Scales are one byte each."""
    import mlx.core as mx

    words, scales = mx.quantize(mx.array(weight.floats()), mode=mode)[:2]
    mx.eval(words, scales)
    packing = Packing(name=mode, group_size=GROUP_SIZES[mode])
    packed = Packed(packing, Array("U32", _numpy(words)), Array("U8", _numpy(scales)))
    mx.clear_cache()
    return packed


def _numpy(array: Any) -> Any:
    return np.array(array, copy=True)
