"""Output tensors, one after another, each read in cache-sized chunks and repacked into its final arrays."""

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from converters.errors import InvalidSource
from converters.gguf.blocks.dequantize import dequantized
from converters.gguf.blocks.format import Bytes, Floats
from converters.gguf.blocks.formats import FORMATS
from converters.gguf.types import BLOCKS
from converters.inventory import Tensor
from converters.plan import ArraySpec, Output, Plan, array_specs
from converters.rounding import from_stored, rounding, stored

CHUNK_BYTES = 1 << 18  # of source: fits the cache with what it becomes


class StoredArray(NamedTuple):
    """`data` holds the bytes of `spec`; bfloat16 as uint16, since numpy has no such type."""

    spec: ArraySpec
    data: NDArray[Any]


def stream(plan: Plan, dtype: str) -> Iterator[StoredArray]:
    """All arrays of a plan. Never more than one output tensor is held. Raises InvalidSource."""
    with SourceFiles() as files:
        for output in plan.outputs:
            yield from produce(output, dtype, files)


class SourceFiles:
    """Open source files. `read` is exact: a file that shrank is an error, not a signal."""

    def __init__(self) -> None:
        self._open: dict[Any, int] = {}

    def __enter__(self) -> "SourceFiles":
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)

    def read(self, tensor: Tensor, start: int, into: Bytes) -> None:
        """Fill `into` from byte `start` of the tensor."""
        descriptor = self._open.get(tensor.file)
        if descriptor is None:
            descriptor = self._open[tensor.file] = os.open(tensor.file, os.O_RDONLY)
        view = into.data.cast("B")
        while view:
            count = os.preadv(descriptor, [view], tensor.offset + start)
            if count == 0:
                raise InvalidSource(f'tensor "{tensor.name}" extends past the end of the file')
            start, view = start + count, view[count:]


def chunks(tensor: Tensor, files: SourceFiles) -> Iterator[tuple[int, Bytes]]:
    """(first row, bytes [rows, row bytes]) of a tensor seen as rows; the buffer is used again."""
    elements, block_bytes = BLOCKS[tensor.type]
    row_bytes = tensor.shape[0] // elements * block_bytes
    num_rows = tensor.size // row_bytes
    step = max(1, CHUNK_BYTES // row_bytes)
    buffer = np.empty((min(step, num_rows), row_bytes), np.uint8)
    for row in range(0, num_rows, step):
        part = buffer[: min(step, num_rows - row)]
        files.read(tensor, row * row_bytes, part)
        yield row, part


def produce(output: Output, dtype: str, files: SourceFiles) -> Iterator[StoredArray]:
    specs = array_specs(output, dtype)
    arrays = (
        _floats(output, specs[0], files)
        if output.becomes is None
        else _repacked(output, specs, files)
    )
    for spec, array in zip(specs, arrays, strict=True):
        yield StoredArray(spec, array.reshape(spec.shape))


def _repacked(output: Output, specs: list[ArraySpec], files: SourceFiles) -> list[NDArray[Any]]:
    """Weight as uint32, scales, biases: filled chunk by chunk, then put in the wanted order of rows."""
    tensor = output.source
    form = FORMATS[tensor.type]
    round_scales = rounding(specs[-1].dtype)
    num_rows = tensor.size // (tensor.shape[0] // BLOCKS[tensor.type][0] * BLOCKS[tensor.type][1])
    arrays = [np.empty((num_rows, spec.size // num_rows), np.uint8) for spec in specs]
    for row, part in chunks(tensor, files):
        packed = form.repack(part.reshape(-1, BLOCKS[tensor.type][1]), round_scales)
        for array, spec, values in zip(arrays, specs, packed, strict=False):
            array[row : row + len(part)] = _bytes_of(values, spec.dtype, len(part))
    return [_ordered(output, a).view(_NUMPY[s.dtype]) for a, s in zip(arrays, specs, strict=True)]


def _bytes_of(values: Any, dtype: str, num_rows: int) -> Bytes:
    """Codes as they are, scales and biases in their stored type."""
    wanted = values if values.dtype == np.uint8 else stored(values, dtype)
    return np.ascontiguousarray(wanted).reshape(num_rows, -1).view(np.uint8)


_NUMPY = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "U32": "<u4", "U8": "u1"}


def _ordered(output: Output, rows: Bytes) -> Bytes:
    """Rows and groups of columns moved to where the model class has them; both commute with quantisation."""
    if output.columns is not None:
        rows = _ordered_columns(output, rows)
    if output.rows is None:
        return rows
    return np.ascontiguousarray(rows.reshape(-1, len(output.rows), rows.shape[-1])[:, output.rows])


def _ordered_columns(output: Output, rows: Bytes) -> Bytes:
    assert output.columns is not None
    assert output.becomes is not None
    firsts = output.columns[:: output.becomes.group_size]
    order = firsts // output.becomes.group_size
    if not np.array_equal(
        output.columns, (firsts[:, None] + np.arange(output.becomes.group_size)).ravel()
    ):
        raise InvalidSource(
            f'tensor "{output.source.name}" cannot be reordered in its quantisation'
        )
    return np.ascontiguousarray(rows.reshape(len(rows), len(order), -1)[:, order])


def _floats(output: Output, spec: ArraySpec, files: SourceFiles) -> list[NDArray[Any]]:
    tensor = output.source
    result = np.empty((tensor.size // _row_bytes(tensor), tensor.shape[0]), _NUMPY[spec.dtype])
    for row, part in chunks(tensor, files):
        values = _as_floats(tensor, part)
        if output.values is not None:
            values = output.values(values)
        result[row : row + len(part)] = stored(values, spec.dtype).reshape(len(part), -1)
    if output.columns is not None:
        result = result[:, output.columns]
    if output.rows is not None:
        width = 1 if len(output.shape) == 1 else tensor.shape[0]
        result = result.reshape(-1, len(output.rows), width)[:, output.rows]
    return [np.ascontiguousarray(result)]


def _row_bytes(tensor: Tensor) -> int:
    elements, block_bytes = BLOCKS[tensor.type]
    return tensor.shape[0] // elements * block_bytes


def _as_floats(tensor: Tensor, part: Bytes) -> Floats:
    if tensor.type in ("F32", "F16", "BF16", "F64"):
        return from_stored(part, tensor.type)
    return dequantized(part.reshape(-1, BLOCKS[tensor.type][1]), FORMATS[tensor.type]).reshape(
        len(part), -1
    )
