"""Tensors of Safetensors files as numpy arrays; 16-bit and 8-bit floats as the bits that they are."""

import os
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from converters.errors import InvalidSource
from converters.inventory import Tensor
from converters.rounding import from_stored, stored

NUMPY = {
    "BOOL": "u1", "U8": "u1", "I8": "i1", "F8_E4M3": "u1", "F8_E5M2": "u1", "F8_E8M0": "u1",
    "U16": "<u2", "I16": "<i2", "F16": "<f2", "BF16": "<u2",
    "U32": "<u4", "I32": "<i4", "F32": "<f4", "U64": "<u8", "I64": "<i8", "F64": "<f8",
}  # fmt: skip
FLOATS = ("F32", "F16", "BF16")


class Array(NamedTuple):
    """`data` has the tensor's shape; BF16 is uint16, since numpy has no such type."""

    dtype: str
    data: NDArray[Any]

    def floats(self) -> NDArray[np.float32]:
        """As float32."""
        flat = np.ascontiguousarray(self.data)
        return from_stored(flat.view(np.uint8), self.dtype).reshape(self.data.shape)


def read_array(tensor: Tensor) -> Array:
    """All of a tensor. A file that shrank is an error."""
    buffer = np.empty(tensor.size, np.uint8)
    view = buffer.data
    descriptor = os.open(tensor.file, os.O_RDONLY)
    try:
        at = tensor.offset
        while view:
            count = os.preadv(descriptor, [view], at)
            if count == 0:
                raise InvalidSource(f'tensor "{tensor.name}" extends past the end of the file')
            at, view = at + count, view[count:]
    finally:
        os.close(descriptor)
    return Array(tensor.type, buffer.view(NUMPY[tensor.type]).reshape(tensor.shape))


def as_stored(values: NDArray[Any], dtype: str) -> Array:
    """float32 values rounded to F32, F16 or BF16."""
    return Array(dtype, np.ascontiguousarray(stored(values, dtype)))
