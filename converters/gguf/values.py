"""GGUF's metadata values: scalars, strings and arrays of either, at most one level deep."""

import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

from converters.gguf.cursor import Cursor, invalid

STRING, ARRAY = 8, 9
MAX_STRING = 16 << 20
MAX_ARRAY = 8 << 20
EAGER_BYTES = 1 << 12  # numeric arrays up to here (layer patterns, head counts) are read at once

_SCALARS: dict[int, struct.Struct] = {
    0: struct.Struct("<B"), 1: struct.Struct("<b"), 2: struct.Struct("<H"), 3: struct.Struct("<h"),
    4: struct.Struct("<I"), 5: struct.Struct("<i"), 6: struct.Struct("<f"), 7: struct.Struct("<?"),
    10: struct.Struct("<Q"), 11: struct.Struct("<q"), 12: struct.Struct("<d"),
}  # fmt: skip
_FLOAT32 = 6

Value = Any  # bool | int | float | str | list | LongArray


class LongArray(Sequence[Any]):
    """An array left in its file; one reading of it decodes all. Raises SourceError if the file changed."""

    def __init__(self, path: Path, offset: int, element: int, length: int) -> None:
        self.path, self.offset, self.element, self.length = path, offset, element, length

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values())

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self.values()[index]

    def values(self) -> list[Any]:
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            cursor = Cursor(descriptor, self.offset + (1 << 40), self.offset)
            return _elements(cursor, self.element, self.length)
        finally:
            os.close(descriptor)


def read_value(cursor: Cursor, path: Path) -> Value:
    kind = cursor.u32()
    if kind == STRING:
        return decode(cursor.string(MAX_STRING, "string"))
    if kind == ARRAY:
        return _read_array(cursor, path)
    return _scalar(kind, cursor)


def decode(raw: bytes) -> str:
    """Text that may be broken UTF-8 (old vocabularies); the broken bytes survive as surrogates."""
    return raw.decode("utf-8", "surrogateescape")


def _scalar(kind: int, cursor: Cursor) -> bool | int | float:
    form = _SCALARS.get(kind)
    if form is None:
        invalid(f"unknown value type {kind}")
    value = form.unpack(cursor.take(form.size))[0]
    return shortest(value) if kind == _FLOAT32 else value


def shortest(value: float) -> float:
    """The shortest decimal that is this float32: 1e-05, not 9.999999747378752e-06."""
    for digits in range(6, 9):
        rounded = float(f"{value:.{digits}g}")
        if struct.pack("<f", rounded) == struct.pack("<f", value):
            return rounded
    return value


def _read_array(cursor: Cursor, path: Path) -> Value:
    element, length = cursor.u32(), cursor.u64()
    if length > MAX_ARRAY:
        invalid(f"array of {length} elements")
    if element == ARRAY:
        invalid("arrays nested in arrays")
    if element != STRING and element not in _SCALARS:
        invalid(f"unknown array type {element}")
    size = length * (8 if element == STRING else _SCALARS[element].size)
    if size > cursor.remaining:
        invalid("an array extends past the end of the file")
    if size <= EAGER_BYTES and element != STRING:
        return _elements(cursor, element, length)
    array = LongArray(path, cursor.position, element, length)
    if element == STRING:
        cursor.skip_strings(length, MAX_STRING)
    else:
        cursor.skip(size)
    return array


def _elements(cursor: Cursor, element: int, length: int) -> list[Any]:
    if element == STRING:
        return [decode(cursor.string(MAX_STRING, "string")) for _ in range(length)]
    form = _SCALARS[element]
    values = struct.unpack(f"<{length}{form.format[1:]}", cursor.take(length * form.size))
    return [shortest(v) for v in values] if element == _FLOAT32 and length < 1024 else list(values)
