"""float32 to and from the float types of files. bfloat16 is uint16 here: numpy has no such type."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.gguf.blocks.format import Bytes, Floats, Rounding

_NUMPY = {"F32": "<f4", "F16": "<f2", "F64": "<f8"}


def stored(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """float32 → F32, F16 or BF16, to nearest even."""
    if dtype == "BF16":
        return _to_bfloat16(np.ascontiguousarray(values, np.float32))
    with np.errstate(over="ignore"):
        return values.astype(_NUMPY[dtype], copy=False)


def from_stored(raw: Bytes, dtype: str) -> Floats:
    """Bytes [n, m] of F32, F16, BF16 or F64 → float32."""
    if dtype == "BF16":
        return _from_bfloat16(raw.view("<u2"))
    return raw.view(_NUMPY[dtype]).astype(np.float32, copy=False)


def rounding(dtype: str) -> Rounding:
    """What a value is after having been stored."""
    if dtype == "BF16":
        return lambda values: _from_bfloat16(_to_bfloat16(np.ascontiguousarray(values)))
    if dtype == "F16":
        return lambda values: values.astype(np.float16).astype(np.float32)
    return lambda values: values


def _to_bfloat16(values: Floats) -> NDArray[np.uint16]:
    bits = values.view(np.uint32)
    rounded = bits + (np.uint32(0x7FFF) + ((bits >> 16) & 1))
    result = (rounded >> 16).astype(np.uint16)
    finite = np.isfinite(values)
    if not finite.all():  # infinities and NaN must not be carried into another number
        result[~finite] = (bits[~finite] >> 16).astype(np.uint16)
        result[np.isnan(values)] = 0x7FC0
    return result


def _from_bfloat16(bits: NDArray[np.uint16]) -> Floats:
    return (bits.astype(np.uint32) << 16).view(np.float32)
