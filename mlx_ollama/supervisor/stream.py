"""Events of one request between the runner's socket and whoever waits for them."""

import asyncio
from collections import deque

from mlx_ollama.errors import Busy, Canceled, InvalidRequest, MlxOllamaError
from mlx_ollama.ipc.messages import Delta, Done, Fault, Progress, Rendered, Vectors

Event = Progress | Delta | Done | Rendered | Vectors
MAX_BUFFER_BYTES = 256 * 1024


def as_error(fault: Fault) -> MlxOllamaError:
    """A runner's fault as the exception its kind stands for."""
    if fault.kind in ("invalid", "not_implemented"):
        return InvalidRequest(fault.message)
    return Busy(fault.message) if fault.kind == "busy" else MlxOllamaError(fault.message)


def is_last(event: Event) -> bool:
    return isinstance(event, Done | Rendered | Vectors)


class Stream:
    """One producer that never waits, one consumer.

    Invariants: at most MAX_BUFFER_BYTES and one event are held; after `fail` or a last event nothing is taken in;
    `fail` drops what is held only when the client was too slow to have it.
    """

    def __init__(self) -> None:
        self._events: deque[tuple[Event, int]] = deque()
        self._bytes = 0
        self._error: MlxOllamaError | None = None
        self._arrived = asyncio.Event()

    def put(self, event: Event, size: int) -> bool:
        """Take in an event of about `size` bytes; False when the client is too far behind, which ends the stream."""
        if self._error is not None:
            return True
        if self._bytes > MAX_BUFFER_BYTES and not is_last(event):
            self._events.clear()
            self.fail(Canceled("client too slow"))
            return False
        if (
            isinstance(event, Progress)
            and self._events
            and isinstance(self._events[-1][0], Progress)
        ):
            self._bytes -= self._events.pop()[1]
        self._events.append((event, size))
        self._bytes += size
        self._arrived.set()
        return True

    def fail(self, error: MlxOllamaError) -> None:
        """End the stream with `error`, after what has arrived; the first error counts."""
        self._error = self._error or error
        self._arrived.set()

    async def get(self) -> Event:
        """The next event, or the stream's error."""
        while not self._events:
            if self._error is not None:
                raise self._error
            self._arrived.clear()
            await self._arrived.wait()
        event, size = self._events.popleft()
        self._bytes -= size
        return event
