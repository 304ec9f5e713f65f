"""One GGUF file's header, from bytes that nobody vouches for (format: ggml's docs/gguf.md).

Every count and length is compared with the bytes that remain before anything is allocated for it.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from converters.errors import InvalidSource
from converters.gguf.cursor import Cursor, invalid
from converters.gguf.types import BLOCKS, OLLAMA_MXFP4_ID, TYPE_IDS
from converters.gguf.values import read_value
from converters.inventory import Tensor

MAX_KEYS, MAX_TENSORS = 4096, 65536
MAX_KEY_BYTES, MAX_NAME_BYTES = 65535, 256
MAX_HEADER = 256 << 20
MAX_DIMENSION = 1 << 31  # MLX's shapes are int32
MIN_KEY, MIN_TENSOR = 13, 33  # bytes that the shortest possible entry takes
DEFAULT_ALIGNMENT = 32


@dataclass(frozen=True)
class Header:
    metadata: dict[str, Any]
    tensors: tuple[Tensor, ...]


def read_header(path: Path) -> Header:
    """Raises InvalidSource (`invalid GGUF: …`)."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise InvalidSource("the source file cannot be read") from error
    try:
        return _read(Cursor(descriptor, MAX_HEADER), os.fstat(descriptor).st_size, path)
    finally:
        os.close(descriptor)


def _read(cursor: Cursor, file_size: int, path: Path) -> Header:
    num_tensors, num_keys = _read_counts(cursor)
    metadata = _read_metadata(cursor, num_keys, path)
    entries = _read_entries(cursor, num_tensors)
    alignment = _alignment(metadata)
    start = -(-cursor.position // alignment) * alignment
    tensors = tuple(_place(entry, start, alignment, file_size, path) for entry in entries)
    _check_no_overlap(tensors)
    return Header(metadata, tensors)


def _read_counts(cursor: Cursor) -> tuple[int, int]:
    if cursor.remaining < 24:
        invalid("file is too short")
    if cursor.take(4) != b"GGUF":
        invalid("not a GGUF file")
    version = cursor.u32()
    if version & 0xFFFF == 0 and version:
        invalid("big-endian files are not supported")
    if version not in (2, 3):
        invalid(f"version {version} is not supported")
    num_tensors, num_keys = cursor.u64(), cursor.u64()
    if num_keys > MAX_KEYS or num_keys * MIN_KEY > cursor.remaining:
        invalid(f"{num_keys} metadata keys")
    if num_tensors > MAX_TENSORS or num_tensors * MIN_TENSOR > cursor.remaining:
        invalid(f"{num_tensors} tensors")
    return num_tensors, num_keys


def _read_metadata(cursor: Cursor, count: int, path: Path) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    for _ in range(count):
        key = _text(cursor.string(MAX_KEY_BYTES, "key"), "key")
        if key in metadata:
            invalid(f'duplicate key "{key}"')
        metadata[key] = read_value(cursor, path)
    return metadata


def _text(raw: bytes, what: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        invalid(f"{what} is not UTF-8")


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    type: str
    shape: tuple[int, ...]
    size: int
    offset: int


def _read_entries(cursor: Cursor, count: int) -> list[_Entry]:
    entries: dict[str, _Entry] = {}
    for _ in range(count):
        entry = _read_entry(cursor)
        if entry.name in entries:
            invalid(f'duplicate tensor "{entry.name}"')
        entries[entry.name] = entry
    return list(entries.values())


def _read_entry(cursor: Cursor) -> _Entry:
    name = _text(cursor.string(MAX_NAME_BYTES, "tensor name"), "tensor name")
    num_dimensions = cursor.u32()
    if not 1 <= num_dimensions <= 4:
        invalid(f'tensor "{name}" has {num_dimensions} dimensions')
    shape = tuple(cursor.u64() for _ in range(num_dimensions))
    kind, offset = cursor.u32(), cursor.u64()
    if not all(1 <= n < MAX_DIMENSION for n in shape):
        invalid(f'tensor "{name}" has a dimension out of range')
    if kind not in TYPE_IDS:
        invalid(f'tensor "{name}" has the unknown type {kind}')
    type_name = TYPE_IDS[kind]
    elements, size = BLOCKS[type_name]
    if shape[0] % elements:
        invalid(f'tensor "{name}": rows of {shape[0]} are not whole {type_name} blocks')
    label = "MXFP4_PAIRS" if kind == OLLAMA_MXFP4_ID else type_name
    return _Entry(name, label, shape, prod(shape) // elements * size, offset)


def _alignment(metadata: dict[str, Any]) -> int:
    value = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if type(value) is not int or not 8 <= value <= 65536 or value & (value - 1):
        invalid("general.alignment is not a power of two from 8 to 65536")
    return value


def _place(entry: _Entry, start: int, alignment: int, file_size: int, path: Path) -> Tensor:
    if entry.offset % alignment:
        invalid(f'tensor "{entry.name}" is not aligned')
    offset = start + entry.offset
    if offset + entry.size > file_size:
        invalid(f'tensor "{entry.name}" extends past the end of the file')
    return Tensor(entry.name, entry.type, entry.shape, entry.size, path, offset)


def _check_no_overlap(tensors: Iterable[Tensor]) -> None:
    end = 0
    for tensor in sorted(tensors, key=lambda t: t.offset):
        if tensor.offset < end:
            invalid(f'tensor "{tensor.name}" overlaps another')
        end = tensor.offset + tensor.size
