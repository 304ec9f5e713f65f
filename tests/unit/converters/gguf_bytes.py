"""GGUF files made by hand, right and wrong."""

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

U32, F32, BOOL, STRING, ARRAY, U64 = 4, 6, 7, 8, 9, 10
TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q8_0": 8}


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def value(content: Any) -> bytes:
    """A metadata value with its type."""
    match content:
        case bool():
            return struct.pack("<IB", BOOL, content)
        case int():
            return struct.pack("<II", U32, content)
        case float():
            return struct.pack("<If", F32, content)
        case str():
            return struct.pack("<I", STRING) + text(content)
        case list():
            return struct.pack("<I", ARRAY) + _array(content)
        case _:
            raise TypeError(type(content))


def _array(items: list[Any]) -> bytes:
    if items and isinstance(items[0], str):
        return struct.pack("<IQ", STRING, len(items)) + b"".join(map(text, items))
    return struct.pack(f"<IQ{len(items)}I", U32, len(items), *items)


@dataclass
class Entry:
    name: str = "a.weight"
    shape: tuple[int, ...] = (32, 2)
    type: int = 0
    offset: int = 0
    num_dimensions: int | None = None

    def __bytes__(self) -> bytes:
        count = len(self.shape) if self.num_dimensions is None else self.num_dimensions
        sizes = struct.pack(f"<{len(self.shape)}Q", *self.shape)
        return (
            text(self.name)
            + struct.pack("<I", count)
            + sizes
            + struct.pack("<IQ", self.type, self.offset)
        )


@dataclass
class Gguf:
    """`metadata` values may be bytes: a whole encoded value. Counts may lie."""

    metadata: list[tuple[str | bytes, Any]] = field(
        default_factory=lambda: [("general.architecture", "llama")]
    )
    tensors: list[Entry] = field(default_factory=list[Entry])
    magic: bytes = b"GGUF"
    version: int = 3
    num_keys: int | None = None
    num_tensors: int | None = None
    data: bytes = b"\0" * 1024

    def __bytes__(self) -> bytes:
        keys = len(self.metadata) if self.num_keys is None else self.num_keys
        tensors = len(self.tensors) if self.num_tensors is None else self.num_tensors
        head = self.magic + struct.pack("<IQQ", self.version, tensors, keys)
        for key, content in self.metadata:
            head += text(key) + (content if isinstance(content, bytes) else value(content))
        head += b"".join(map(bytes, self.tensors))
        return head + b"\0" * (-len(head) % 32) + self.data

    def write(self, path: Path) -> Path:
        path.write_bytes(bytes(self))
        return path
