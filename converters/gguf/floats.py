"""Small float tensors read whole, for configurations that lie in tables. No numpy."""

import os
import struct

from converters.gguf.cursor import invalid
from converters.inventory import Tensor

MAX_TABLE = 1 << 16  # elements


def small_floats(tensor: Tensor) -> list[float]:
    """The values of an F32 or F16 tensor of at most 65,536 elements."""
    form = {"F32": "f", "F16": "e"}.get(tensor.type)
    if form is None or tensor.size > 4 * MAX_TABLE:
        invalid(f'tensor "{tensor.name}" is not a small table of floats')
    descriptor = os.open(tensor.file, os.O_RDONLY)
    try:
        raw = os.pread(descriptor, tensor.size, tensor.offset)
    finally:
        os.close(descriptor)
    if len(raw) != tensor.size:
        invalid(f'tensor "{tensor.name}" extends past the end of the file')
    return list(struct.unpack(f"<{len(raw) // struct.calcsize(form)}{form}", raw))
