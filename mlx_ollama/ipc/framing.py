"""Length-prefixed msgpack over a socket: a frame is a list of messages, so that one step costs one write."""

import asyncio
import socket
import struct
from collections.abc import Sequence

import msgspec

from mlx_ollama.ipc.messages import FromRunner, ToRunner

MAX_FRAME_BYTES = 1 << 30  # images travel inside; a larger frame is a broken peer
_LENGTH = struct.Struct("<I")
_encoder = msgspec.msgpack.Encoder()
_to_runner = msgspec.msgpack.Decoder(list[ToRunner])
_from_runner = msgspec.msgpack.Decoder(list[FromRunner])


class BrokenFrame(Exception):
    """The peer closed in the middle of a frame, or sent what is none."""


def encode(messages: Sequence[ToRunner | FromRunner]) -> bytes:
    """One frame, ready for the socket."""
    body = _encoder.encode(messages)
    return _LENGTH.pack(len(body)) + body


def _checked_length(header: bytes) -> int:
    (length,) = _LENGTH.unpack(header)
    if length > MAX_FRAME_BYTES:
        raise BrokenFrame(f"frame of {length} bytes")
    return length


def decode_to_runner(body: bytes) -> list[ToRunner]:
    """The messages of one frame body; `BrokenFrame` when it holds none."""
    try:
        return _to_runner.decode(body)
    except msgspec.MsgspecError as error:
        raise BrokenFrame(str(error)) from error


def decode_from_runner(body: bytes) -> list[FromRunner]:
    """The messages of one frame body; `BrokenFrame` when it holds none."""
    try:
        return _from_runner.decode(body)
    except msgspec.MsgspecError as error:
        raise BrokenFrame(str(error)) from error


def receive_to_runner(sock: socket.socket) -> list[ToRunner] | None:
    """Block for one frame; None when the server has closed."""
    header = _receive_exactly(sock, _LENGTH.size, at_start=True)
    if header is None:
        return None
    body = _receive_exactly(sock, _checked_length(header), at_start=False)
    return decode_to_runner(body or b"")


def _receive_exactly(sock: socket.socket, size: int, *, at_start: bool) -> bytes | None:
    buffer = bytearray(size)
    view, have = memoryview(buffer), 0
    while have < size:
        count = sock.recv_into(view[have:])
        if count == 0:
            if at_start and have == 0:
                return None
            raise BrokenFrame(f"closed after {have} of {size} bytes")
        have += count
    return bytes(buffer)


async def read_from_runner(reader: asyncio.StreamReader) -> list[FromRunner] | None:
    """Await one frame; None when the runner has closed."""
    try:
        header = await reader.readexactly(_LENGTH.size)
        return decode_from_runner(await reader.readexactly(_checked_length(header)))
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise BrokenFrame(f"closed after {len(error.partial)} bytes") from error
        return None
