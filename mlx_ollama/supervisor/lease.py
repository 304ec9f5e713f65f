"""A place on a runner for as long as one client's request takes."""

import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable

from mlx_ollama.errors import Canceled, RunnerStopped
from mlx_ollama.ipc.messages import Loaded, Progress
from mlx_ollama.supervisor.connection import Connection, Request
from mlx_ollama.supervisor.runner import Runner
from mlx_ollama.supervisor.stream import Event, Stream, is_last


class Lease:
    """`load_duration` is nanoseconds from asking until the runner was ready.

    Invariants: holds exactly one slot of `_runner` until `close`; `_open` are the requests it has to abort then.
    """

    def __init__(self, runner: Runner, again: Callable[[], Awaitable[Runner]], asked: int) -> None:
        self._runner, self._again = runner, again
        self._open: list[tuple[Connection, int, Stream]] = []
        self.load_duration = time.monotonic_ns() - asked

    @property
    def loaded(self) -> Loaded:
        """What the runner got."""
        assert self._runner.loaded is not None
        return self._runner.loaded

    async def request(self, message: Request) -> AsyncGenerator[Event, None]:
        """Events up to and with the last (`Done`, `Rendered` or `Vectors`); `message.id` is given here.

        A runner's `Fault` is raised: `invalid` and `not_implemented` as InvalidRequest, `busy` as Busy, `failed`
        as MlxOllamaError. A runner that ends before its answer: retried once on a fresh one when nothing but
        Progress was handed out, else RunnerStopped. Canceled when the client read too slowly.
        Leaving the iterator or the lease early aborts the request.
        """
        has_started = False
        try:
            async with contextlib.aclosing(self._events(message)) as events:
                async for event in events:
                    has_started = has_started or not isinstance(event, Progress)
                    yield event
            return
        except RunnerStopped:
            if has_started:
                raise
        self._runner = await self._again()
        async with contextlib.aclosing(self._events(message)) as events:
            async for event in events:
                yield event

    async def _events(self, message: Request) -> AsyncGenerator[Event, None]:
        connection = self._runner.connection
        number, stream = connection.open(message)
        self._runner.watch()
        self._open.append((connection, number, stream))
        try:
            while True:
                event = await stream.get()
                yield event
                if is_last(event):
                    return
        finally:
            connection.abort(number)

    def close(self) -> None:
        """Abort what is still running and give the slot back."""
        for connection, number, stream in self._open:
            connection.abort(number)
            stream.fail(Canceled("request canceled"))
        self._runner.release()
