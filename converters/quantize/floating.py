"""MLX's types of few-bit floats: mxfp4, mxfp8, nvfp4. The only importer of MLX here; runs in a converter process."""

from typing import Any

import numpy as np

from converters.safetensors.arrays import Array
from converters.weights import Packed, Packing

CHUNK_VALUES = 1 << 22  # so many at a time are float32
GROUP_SIZES = {"mxfp4": 32, "mxfp8": 32, "nvfp4": 16}


def quantize(weight: Array, mode: str) -> Packed:
    """Scales are one byte each."""
    rows = weight.data.reshape(-1, weight.data.shape[-1])
    step = max(1, CHUNK_VALUES // rows.shape[1])
    made = [
        _quantize_rows(Array(weight.dtype, rows[i : i + step]), mode)
        for i in range(0, len(rows), step)
    ]
    front = weight.data.shape[:-1]
    words, scales = (np.concatenate(parts).reshape(*front, -1) for parts in zip(*made, strict=True))
    packing = Packing(name=mode, group_size=GROUP_SIZES[mode])
    return Packed(packing, Array("U32", words), Array("U8", scales))


def _quantize_rows(rows: Array, mode: str) -> tuple[Any, Any]:
    import mlx.core as mx

    words, scales = mx.quantize(mx.array(rows.floats()), mode=mode)[:2]
    mx.eval(words, scales)
    found = _numpy(words), _numpy(scales)
    mx.clear_cache()
    return found


def _numpy(array: Any) -> Any:
    return np.array(array, copy=True)
