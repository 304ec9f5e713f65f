"""Output tensors, one after another, each read in cache-sized chunks and repacked into its final arrays."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from converters.errors import InvalidSource
from converters.gguf.blocks.dequantize import dequantized
from converters.gguf.blocks.format import Bytes, Floats
from converters.gguf.blocks.formats import FLOATS, FORMATS
from converters.gguf.blocks.requantize import affine
from converters.gguf.types import BLOCKS
from converters.inventory import Tensor
from converters.plan import ArraySpec, Output, Part, Plan, array_specs
from converters.rounding import from_stored, rounding, stored

CHUNK_BYTES = 1 << 18  # of source: fits the cache with what it becomes


class StoredArray(NamedTuple):
    """`data` holds the bytes of `spec`; bfloat16 as uint16, since numpy has no such type."""

    spec: ArraySpec
    data: NDArray[Any]


def stream(plan: Plan, dtype: str) -> Iterator[StoredArray]:
    """All arrays of a plan. Never more than one output tensor is held. Raises InvalidSource."""
    with SourceFiles() as files, ThreadPoolExecutor(num_workers()) as pool:
        for output in plan.outputs:
            yield from produce(output, dtype, files, pool)


def num_workers() -> int:
    """numpy lets go of the interpreter's lock, so chunks are repacked side by side."""
    return min(8, os.cpu_count() or 1)


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


class Chunk(NamedTuple):
    """`num_rows` rows of a part, and the output row where they go."""

    part: Part
    first_row: int
    num_rows: int
    to: int


def chunks(parts: Sequence[Part]) -> Iterator[Chunk]:
    base = 0
    for part in parts:
        step = max(1, CHUNK_BYTES // part.row_bytes)
        for row in range(0, part.num_rows, step):
            count = min(step, part.num_rows - row)
            yield Chunk(part, part.first_row + row, count, base + row)
        base += part.num_rows


def read_chunk(chunk: Chunk, files: SourceFiles) -> Bytes:
    """uint8 [rows, row bytes]."""
    raw = np.empty((chunk.num_rows, chunk.part.row_bytes), np.uint8)
    files.read(chunk.part.tensor, chunk.first_row * chunk.part.row_bytes, raw)
    return raw


def produce(
    output: Output, dtype: str, files: SourceFiles, pool: Executor
) -> Iterator[StoredArray]:
    """The arrays of one output, filled chunk by chunk, then put in the wanted order."""
    specs = array_specs(output, dtype)
    num_rows = sum(part.num_rows for part in output.parts)
    arrays = [np.empty((num_rows, spec.size // num_rows), np.uint8) for spec in specs]

    def fill(chunk: Chunk) -> None:
        made = converted(output, specs, read_chunk(chunk, files), chunk.part.tensor)
        for array, content in zip(arrays, made, strict=True):
            array[chunk.to : chunk.to + chunk.num_rows] = content

    deque(pool.map(fill, chunks(output.parts)), maxlen=0)
    for spec in specs:
        ordered = _ordered(output, arrays.pop(0))
        yield StoredArray(spec, ordered.view(_NUMPY[spec.dtype]).reshape(spec.shape))


def converted(output: Output, specs: list[ArraySpec], raw: Bytes, tensor: Tensor) -> list[Bytes]:
    """One chunk as the bytes of each array, [rows, …]."""
    if output.becomes is None:
        return [_as_stored_floats(output, specs[0].dtype, raw, tensor)]
    blocks = raw.reshape(-1, BLOCKS[tensor.type][1])
    form, round_scales = FORMATS[tensor.type], rounding(specs[-1].dtype)
    if form.becomes == output.becomes:
        packed = form.repack(blocks, round_scales)
    else:
        packed = affine(dequantized(blocks, form), output.becomes, round_scales)
    arrays = [array for array in packed if array is not None]
    return [_bytes_of(a, s.dtype, len(raw)) for a, s in zip(arrays, specs, strict=True)]


def _as_stored_floats(output: Output, dtype: str, raw: Bytes, tensor: Tensor) -> Bytes:
    if tensor.type == dtype and output.values is None:
        return raw
    values = as_floats(tensor, raw)
    if output.values is not None:
        values = output.values(values)
    return _bytes_of(values, dtype, len(raw))


def _bytes_of(values: Any, dtype: str, num_rows: int) -> Bytes:
    """Codes as they are, scales and biases in their stored type."""
    wanted = values if values.dtype == np.uint8 else stored(values, dtype)
    return np.ascontiguousarray(wanted).reshape(num_rows, -1).view(np.uint8)


_NUMPY = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "U32": "<u4", "U8": "u1"}


def _ordered(output: Output, rows: Bytes) -> Bytes:
    """Rows and groups of columns moved to where the model class has them; both commute with quantisation."""
    if output.columns is not None:
        rows = _ordered_columns(output, output.columns, rows)
    if output.rows is None:
        return rows
    items = rows.reshape(-1, len(output.rows), rows.size // _leading(output) // len(output.rows))
    return np.ascontiguousarray(items[:, output.rows])


def _leading(output: Output) -> int:
    """Matrices in the output: experts, or one."""
    return output.shape[0] if len(output.shape) > 2 and output.shape[-1] != 1 else 1


def _ordered_columns(output: Output, order: NDArray[Any], rows: Bytes) -> Bytes:
    group = 1 if output.becomes is None else output.becomes.group_size
    firsts = order[::group]
    if not np.array_equal(order, (firsts[:, None] + np.arange(group)).ravel()):
        name = output.parts[0].tensor.name
        raise InvalidSource(f'tensor "{name}" cannot be reordered in its quantisation')
    items = rows.reshape(len(rows), len(firsts), -1)
    return np.ascontiguousarray(items[:, firsts // group]).reshape(len(rows), -1)


def as_floats(tensor: Tensor, part: Bytes) -> Floats:
    """Source rows, uint8 [rows, row bytes], as float32 [rows, columns]."""
    if tensor.type in FLOATS:
        return from_stored(part, tensor.type)
    blocks = part.reshape(-1, BLOCKS[tensor.type][1])
    return dequantized(blocks, FORMATS[tensor.type]).reshape(len(part), -1)
