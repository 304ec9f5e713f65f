"""One runner's socket: requests out, events to whoever awaits them."""

import asyncio
import itertools
import logging
import socket
import time
from collections.abc import Callable

import msgspec

from mlx_ollama.errors import MlxOllamaError
from mlx_ollama.ipc import framing
from mlx_ollama.ipc.messages import (
    Abort,
    Chat,
    Embed,
    Fault,
    FromRunner,
    Generate,
    Load,
    Loaded,
    Memory,
    ToRunner,
)
from mlx_ollama.supervisor.stream import Stream, as_error, is_last

_log = logging.getLogger(__name__)
Request = Chat | Generate | Embed


class Connection:
    """Reads until the runner closes or says its own fault, then calls `on_end` once, with the reason when the runner gave one.

    Invariants: `pending` holds exactly the requests the runner has not answered to the end, aborted ones too;
    reading never waits for a client; `last_life` is when the runner last said anything (monotonic seconds).
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.pending: dict[int, Stream] = {}
        self.last_life = time.monotonic()
        self.memory = 0
        self.loaded: asyncio.Future[Loaded] = asyncio.get_running_loop().create_future()
        self.last_fault: Fault | None = None
        self.on_end: Callable[[], None] = lambda: None
        self._numbers = itertools.count(1)
        self._reader, self._writer = reader, writer
        self._task = asyncio.create_task(self._read(), name="runner connection")

    @classmethod
    async def over(cls, sock: socket.socket) -> "Connection":
        return cls(*await asyncio.open_unix_connection(sock=sock))

    def send(self, message: ToRunner) -> None:
        """Hand over for sending; a closed socket shows at the reading side."""
        if not self._writer.is_closing():
            self._writer.write(framing.encode([message]))

    def load(self, message: Load) -> None:
        self.last_life = time.monotonic()
        self.send(message)

    def open(self, request: Request) -> tuple[int, Stream]:
        """Send a request under a number of its own."""
        number, stream = next(self._numbers), Stream()
        if not self.pending:
            self.last_life = time.monotonic()
        self.pending[number] = stream
        self.send(msgspec.structs.replace(request, id=number))
        return number, stream

    def abort(self, number: int) -> None:
        """Nobody waits for this one any more; it stays pending until the runner has said so."""
        if number in self.pending:
            self.send(Abort(id=number))

    def fail(self, error: MlxOllamaError) -> None:
        """End every pending request with `error`."""
        pending, self.pending = self.pending, {}
        for stream in pending.values():
            stream.fail(error)

    def end(self, error: MlxOllamaError, load_error: MlxOllamaError) -> None:
        """Close; every pending request ends with `error`, a load that still waits with `load_error`."""
        self._task.cancel()
        self._writer.close()
        self.fail(error)
        if not self.loaded.done():
            self.loaded.set_exception(load_error)
            self.loaded.exception()  # marks it as seen: whoever waited may have left

    async def _read(self) -> None:
        try:
            while (frame := await framing.read_from_runner(self._reader)) is not None:
                self.last_life = time.monotonic()
                self._dispatch(frame)
                if self.last_fault is not None:
                    break
        except (framing.BrokenFrame, OSError) as error:
            _log.error("broken connection to a runner: %s", error)
            self.last_fault = Fault(message="broken connection")
        self.on_end()

    def _dispatch(self, frame: list[FromRunner]) -> None:
        for message in frame:
            match message:
                case Loaded():
                    self._become_loaded(message)
                case Memory():
                    self.memory = message.active + message.cache
                case Fault(id=0):
                    self.last_fault = message
                case _:
                    self._hand_on(message)

    def _become_loaded(self, message: Loaded) -> None:
        self.memory = message.memory
        if not self.loaded.done():
            self.loaded.set_result(message)

    def _hand_on(self, message: FromRunner) -> None:
        if isinstance(message, Loaded | Memory):
            return
        stream = self.pending.get(message.id)
        if stream is None:
            return
        if isinstance(message, Fault):
            del self.pending[message.id]
            stream.fail(as_error(message))
            return
        if not stream.put(message, _estimate(message)):
            self.abort(message.id)
        if is_last(message):
            del self.pending[message.id]


def _estimate(message: FromRunner) -> int:
    """About the bytes an event holds; encoding it again costs a microsecond and is exact enough."""
    return len(framing.encode([message]))
