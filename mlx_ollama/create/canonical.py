"""A GGUF in the form in which Ollama keeps it, so that the same model has the same digest in both stores.

That is what `llama-quantize COPY` writes: tensors outside the blocks first, then block by block, by name; the
two keys about quantisation last; parts of a split model joined. No weight changes, and nothing that is neither
metadata nor a tensor is kept. Only files that the strict reader has approved come here.
"""

import os
import re
import struct
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from converters.gguf.cursor import Cursor
from converters.gguf.reader import MAX_HEADER
from converters.gguf.values import read_value
from converters.inventory import Inventory, Tensor

MAGIC_AND_VERSION = b"GGUF" + struct.pack("<I", 3)
COUNTS = struct.Struct("<QQ")
PIECE = 4 << 20
_LAST = ("general.quantization_version", "general.file_type")
_SPLIT = ("split.no", "split.count", "split.tensors.count")
_BLOCK = re.compile(r"blk\.(\d+)\.")


class Section(Struct, frozen=True):
    """Bytes of a file as they stand."""

    path: Path
    start: int
    end: int


class Header(Struct, frozen=True):
    """Where the keys of a file stand, and each tensor's entry without its offset."""

    keys: dict[str, Section]
    entries: dict[str, Section]


def block_order(name: str) -> tuple[int, str]:
    """llama.cpp's order of tensors."""
    match = _BLOCK.match(name)
    return (int(match[1]) if match else -1, name)


class Canonical:
    """How a source is to be written. Making one reads its headers."""

    def __init__(self, source: Inventory) -> None:
        self._files = source.files
        self._tensors = sorted(source.tensors, key=lambda tensor: block_order(tensor.name))
        self._alignment: int = source.metadata.get("general.alignment", 32)
        head = _head(source, self._tensors, self._alignment)
        self._head = head + bytes(-len(head) % self._alignment)
        self.size = len(self._head) + sum(map(self._room, self._tensors))

    def _room(self, tensor: Tensor) -> int:
        return -(-tensor.size // self._alignment) * self._alignment

    def is_source(self) -> bool:
        """Whether the source is written like this already."""
        path = self._files[0]
        if len(self._files) > 1 or path.stat().st_size != self.size:
            return False
        return b"".join(_read(Section(path, 0, len(self._head)))) == self._head

    def pieces(self) -> Iterator[bytes]:
        """The file, a few MiB at a time."""
        yield self._head
        for tensor in self._tensors:
            yield from _read(Section(tensor.file, tensor.offset, tensor.offset + tensor.size))
            yield bytes(self._room(tensor) - tensor.size)


def _head(source: Inventory, tensors: list[Tensor], alignment: int) -> bytes:
    headers = {path: _locate(path) for path in source.files}
    keys = headers[source.files[0]].keys
    names = [name for name in keys if name not in (*_LAST, *_SPLIT)]
    names += [name for name in _LAST if name in keys]
    parts = [MAGIC_AND_VERSION, COUNTS.pack(len(tensors), len(names))]
    parts += [b"".join(_read(keys[name])) for name in names]
    offset = 0
    for tensor in tensors:
        parts += _read(headers[tensor.file].entries[tensor.name])
        parts.append(struct.pack("<Q", offset))
        offset += -(-tensor.size // alignment) * alignment
    return b"".join(parts)


def _locate(path: Path) -> Header:
    """The sections of a header that is known to be good."""
    with _opened(path) as descriptor:
        cursor = Cursor(descriptor, MAX_HEADER)
        cursor.take(len(MAGIC_AND_VERSION))
        num_tensors, num_keys = COUNTS.unpack(cursor.take(COUNTS.size))
        keys = dict(_key(cursor, path) for _ in range(num_keys))
        entries = dict(_entry(cursor, path) for _ in range(num_tensors))
    return Header(keys, entries)


def _key(cursor: Cursor, path: Path) -> tuple[str, Section]:
    start = cursor.position
    name = cursor.string(MAX_HEADER, "key").decode()
    read_value(cursor, path)
    return name, Section(path, start, cursor.position)


def _entry(cursor: Cursor, path: Path) -> tuple[str, Section]:
    start = cursor.position
    name = cursor.string(MAX_HEADER, "name").decode()
    cursor.take(cursor.u32() * 8 + 4)  # dimensions and type
    end = cursor.position
    cursor.take(8)  # the offset, which will be another
    return name, Section(path, start, end)


def _read(section: Section) -> Iterator[bytes]:
    with _opened(section.path) as descriptor:
        for at in range(section.start, section.end, PIECE):
            piece = os.pread(descriptor, min(PIECE, section.end - at), at)
            if not piece:
                raise OSError("the file became shorter while it was read")
            yield piece


@contextmanager
def _opened(path: Path) -> Generator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
