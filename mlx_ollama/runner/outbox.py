"""Messages on their way to the server, written by a thread of their own.

Everything that waits goes out as one frame, so that a step of many streams costs one write. Invariants: adding
never blocks, whatever the server does; what one request has waiting is bounded; messages of a request keep
their order.
"""

import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from mlx_ollama.ipc import framing
from mlx_ollama.ipc.messages import Delta, FromRunner, Progress

MAX_WAITING = 256 << 10  # bytes a request may have waiting (design.md, slow readers)
_OVERHEAD = 64  # bytes about a message besides its text
_A_LOGPROB = 400  # about the bytes of a token's log-probability with a few alternatives


def _estimate(message: FromRunner) -> int:
    """About the bytes of what a model may produce without end; final words are always taken."""
    match message:
        case Delta():
            return (
                _OVERHEAD
                + len(message.content)
                + len(message.thinking)
                + _A_LOGPROB * len(message.logprobs)
            )
        case Progress():
            return _OVERHEAD
        case _:
            return 0


class Outbox:
    """`on_closed` is called from the writing thread when the server has gone."""

    def __init__(self, sock: socket.socket, on_closed: Callable[[], None]) -> None:
        self._sock, self._on_closed = sock, on_closed
        self._changed = threading.Condition()
        self._waiting: list[FromRunner] = []
        self._bytes: Counter[int] = Counter()  # of each request, waiting or being written
        self._is_writing = False
        threading.Thread(target=self._write, name="outbox", daemon=True).start()

    def put(self, messages: Iterable[FromRunner]) -> set[int]:
        """Queue messages; the requests that have too much waiting, which the caller cancels."""
        stalled = set[int]()
        with self._changed:
            for message in messages:
                self._waiting.append(message)
                size = _estimate(message)
                number = getattr(message, "id", 0)
                if size and number:
                    self._bytes[number] += size
                    if self._bytes[number] > MAX_WAITING:
                        stalled.add(number)
            self._changed.notify_all()
        return stalled

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything queued is written."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._waiting and not self._is_writing, timeout
            )

    def _next(self) -> Sequence[FromRunner]:
        with self._changed:
            self._is_writing = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: bool(self._waiting))
            batch, self._waiting = self._waiting, []
            self._is_writing = True
            return batch

    def _write(self) -> None:
        try:
            while True:
                batch = self._next()
                self._sock.sendall(framing.encode(batch))
                self._forget(batch)
        except OSError:
            self._on_closed()

    def _forget(self, batch: Sequence[FromRunner]) -> None:
        with self._changed:
            for message in batch:
                size = _estimate(message)
                number = getattr(message, "id", 0)
                if size and number:
                    self._bytes[number] -= size
                    if self._bytes[number] <= 0:
                        del self._bytes[number]
