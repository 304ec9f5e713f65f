"""A bounded read position in an untrusted file.

Invariant: `base + at` is the position in the file, `data` holds the bytes from `base`; nothing is
allocated for a length before it was compared with the bytes that remain. `pread`, not a memory map:
a file that shrinks while it is read must be an error, not a signal.
"""

import os
import struct
from typing import NoReturn

from converters.errors import InvalidSource

WINDOW = 1 << 20
_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")


def invalid(what: str) -> NoReturn:
    raise InvalidSource(f"invalid GGUF: {what}")


class Cursor:
    def __init__(self, descriptor: int, limit: int, start: int = 0) -> None:
        self.descriptor = descriptor
        self.size = min(os.fstat(descriptor).st_size, limit)
        self.base = start
        self.data = b""
        self.at = 0

    @property
    def position(self) -> int:
        return self.base + self.at

    @property
    def remaining(self) -> int:
        return self.size - self.position

    def need(self, count: int) -> int:
        """Make `count` more bytes available in `data`; their index in it."""
        if count > self.remaining:
            invalid("file ends in the middle of its header, or the header is too large")
        if self.at + count > len(self.data):
            self.base += self.at
            self.at = 0
            self.data = os.pread(self.descriptor, max(count, WINDOW), self.base)
            if len(self.data) < count:
                invalid("file ends in the middle of its header")
        return self.at

    def take(self, count: int) -> bytes:
        at = self.need(count)
        self.at = at + count
        return self.data[at : at + count]

    def skip(self, count: int) -> None:
        """Go on without reading."""
        if count > self.remaining:
            invalid("a value extends past the end of the file")
        self.at += count
        if self.at > len(self.data):
            self.base += self.at
            self.at, self.data = 0, b""

    def u32(self) -> int:
        return int(_U32.unpack(self.take(4))[0])

    def u64(self) -> int:
        return int(_U64.unpack(self.take(8))[0])

    def string(self, limit: int, what: str) -> bytes:
        length = self.u64()
        if length > limit:
            invalid(f"{what} of {length} bytes")
        return self.take(length)

    def skip_strings(self, count: int, limit: int) -> None:
        """Past `count` strings; a tight loop, since vocabularies have 260,000 of them."""
        unpack = _U64.unpack_from
        while count:
            self.need(8)
            data, at = self.data, self.at
            last = len(data) - 8
            while count and at <= last:
                length = unpack(data, at)[0]
                if length > limit:
                    invalid(f"string of {length} bytes")
                if at + 8 + length > len(data):
                    break
                at += 8 + length
                count -= 1
            if at == self.at:  # one string longer than the window
                self.take(8)
                self.skip(length)  # pyright: ignore[reportPossiblyUnboundVariable]
                count -= 1
            else:
                self.at = at
