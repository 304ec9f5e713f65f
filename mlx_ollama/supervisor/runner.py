"""One loaded model: its process, its connection, who uses it, and when it goes."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta

from mlx_ollama.durations import FOREVER, SECOND
from mlx_ollama.errors import LoadFailed, MlxOllamaError, RunnerStopped
from mlx_ollama.ipc import child
from mlx_ollama.ipc.messages import Load, Loaded
from mlx_ollama.supervisor.connection import Connection
from mlx_ollama.supervisor.process import RunnerProcess, describe_exit
from mlx_ollama.supervisor.spec import Limits, LoadedModel
from mlx_ollama.supervisor.stream import as_error

_log = logging.getLogger(__name__)
_STOPPED = (
    "model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, "
    "check ollama server logs for details"
)
LEAST_AUTOMATIC = 4096  # no automatic context length is shorter, but for the model's own
_EXIT_SECONDS = 0.5  # a runner whose socket has closed has this long to be gone


class Gone(Exception):
    """The runner takes nobody any more; ask for another."""


class Runner:
    """Made by `start`, ended by `leave`, `stop` or its process.

    Invariants: users never exceed `slots`; somebody waits only while all slots are taken, first come first
    served; it is held, and so not idle, from its start until those who had it loaded have taken their slots, or
    two loads could evict each other for ever; the keep-alive timer runs exactly while it is idle and stays; once
    `is_leaving` and not held, no slot is given; `ended` is set once, after the process has gone and every request
    and waiter has been told.
    """

    def __init__(
        self, load: Load, limits: Limits, process: RunnerProcess, connection: Connection
    ) -> None:
        self.load, self.limits = load, limits
        self.process, self.connection = process, connection
        self.loaded: Loaded | None = None
        self.keep_alive = limits.keep_alive
        self.is_leaving = False
        self.used = time.monotonic()
        self.crashed = False
        self.ended = asyncio.Event()
        self.on_change: Callable[[], None] = lambda: None
        self._users = 0
        self._is_held = True
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._idle_since = datetime.now().astimezone()
        self._reason = ""
        self._end: asyncio.Task[None] | None = None
        connection.on_end = self._begin_end

    @classmethod
    async def start(cls, load: Load, limits: Limits) -> "Runner":
        """Spawn and send `load`; LoadFailed when not even that works. Then `wait_loaded`."""
        command = limits.command or child.command("mlx_ollama.runner", watches="socket")
        try:
            process = await RunnerProcess.start(command, load.model, limits.openblas)
        except OSError as error:
            raise LoadFailed(f"cannot start a model runner: {error.strerror}") from error
        runner = cls(load, limits, process, await Connection.over(process.sock))
        runner.connection.load(load)
        runner._look()
        return runner

    async def wait_loaded(self) -> None:
        """Until the model is ready, then held; LoadFailed (or what the runner's fault says) when it will not be."""
        self.loaded = await asyncio.shield(self.connection.loaded)
        self._stop_watch()

    def _load_error(self) -> MlxOllamaError:
        fault = self.connection.last_fault
        if fault is None:
            return LoadFailed(self._stopped_text())
        error = as_error(fault)
        return LoadFailed(fault.message) if type(error) is MlxOllamaError else error

    @property
    def key(self) -> str:
        """What tells models apart."""
        return self.load.digest or self.load.model

    # ---- use

    @property
    def slots(self) -> int:
        return self.loaded.parallel if self.loaded else self.limits.parallel

    @property
    def is_idle(self) -> bool:
        return self._users == 0 and not self._is_held and not self._waiting

    @property
    def memory(self) -> int:
        """Bytes, as the runner last said."""
        return self.connection.memory

    def suits(self, num_ctx: int) -> bool:
        """Whether a request for that context length (0: the automatic one) fits into the one that was loaded.

        A shorter one is the request's own affair. What was loaded for a short one must not cut the prompts of
        requests that say nothing.
        """
        if self.loaded is None or num_ctx == self.load.num_ctx:
            return True
        trained = self.loaded.context_length or self.loaded.num_ctx
        return min(num_ctx or LEAST_AUTOMATIC, trained) <= self.loaded.num_ctx

    async def acquire(self, keep_alive: int | None) -> None:
        """Wait for a slot; Gone when the runner is leaving, unless it is held for those who had it loaded."""
        if self._end is not None or (self.is_leaving and not self._is_held):
            raise Gone
        if keep_alive is not None:
            self.keep_alive = FOREVER if keep_alive < 0 else keep_alive
        if self._users >= self.slots:
            await self._wait_for_slot()
        else:
            self._users += 1
        self._disarm()

    async def _wait_for_slot(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn in self._waiting:
                self._waiting.remove(turn)
            elif turn.done() and not turn.cancelled() and turn.exception() is None:
                self.release()  # it was handed over in the very moment of leaving
            raise

    def release(self) -> None:
        """Give a slot back: to the next who waits, or the model becomes idle."""
        self.used = time.monotonic()
        if self._end is not None:
            return
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._users -= 1
        if self.is_idle:
            self._become_idle()

    def let_go(self) -> None:
        """Whoever had it loaded has taken a slot, or left: from now on it may become idle."""
        self._is_held = False
        if self.is_idle and self._end is None:
            self._become_idle()

    def _become_idle(self) -> None:
        self._idle_since = datetime.now().astimezone()
        if self.is_leaving or self.keep_alive == 0:
            self.leave()
        else:
            self._arm()
        self.on_change()

    def _arm(self) -> None:
        self._disarm()
        if self.keep_alive < FOREVER:
            seconds = self.keep_alive / SECOND
            self._timer = asyncio.get_running_loop().call_later(seconds, self.leave)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # ---- watch

    def _look(self) -> None:
        """Kill a runner that has work and gives no sign of life; asleep while there is no work."""
        self._watch = None
        is_loading = not self.connection.loaded.done()
        if self.ended.is_set() or not (is_loading or self.connection.pending):
            return
        limit = self.limits.load_timeout if is_loading else self.limits.hang_timeout
        left = limit / SECOND - (time.monotonic() - self.connection.last_life)
        if left <= 0:
            self.kill(f"no sign of life for {limit / SECOND:g} s")
        elif limit < FOREVER:
            self._watch = asyncio.get_running_loop().call_later(left, self._look)

    def _stop_watch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def watch(self) -> None:
        """Work has been given; see that something comes of it."""
        if self._watch is None:
            self._look()

    # ---- end

    def leave(self) -> None:
        """Take nobody new; end when the running requests have (waiting ones are sent elsewhere)."""
        self.is_leaving = True
        self._disarm()
        self._send_waiting_away()
        if self.is_idle:
            self._begin_end()

    def kill(self, reason: str) -> None:
        """End now, as a crash with that reason."""
        self._reason = self._reason or reason
        self.process.kill()

    async def stop(self, error: MlxOllamaError | None = None) -> None:
        """End now on purpose: requests get `error`. Returns when the process has gone."""
        self.is_leaving = True
        if error is not None:
            self.connection.fail(error)
        self._users, self._is_held = 0, False
        self._send_waiting_away()
        self._begin_end()
        await self.ended.wait()

    def _send_waiting_away(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(Gone())

    def _begin_end(self) -> None:
        if self._end is None:
            intended = self.is_leaving and self.is_idle
            self.is_leaving = True
            self._end = asyncio.create_task(
                self._finish(intended), name=f"end of {self.load.model}"
            )

    async def _finish(self, intended: bool) -> None:
        self._disarm()
        self._stop_watch()
        if intended:
            await self.process.stop()
        status = await self.process.exit_status(_EXIT_SECONDS)
        has_refused = self.loaded is None and self.connection.last_fault is not None
        self.crashed = not (intended or has_refused)
        if self.crashed:
            fault = self.connection.last_fault
            self._reason = self._reason or (fault.message if fault else describe_exit(status))
            self._report()
        self.connection.end(RunnerStopped(self._stopped_text()), self._load_error())
        self.ended.set()
        self._send_waiting_away()
        self.on_change()

    def _report(self) -> None:
        _log.error("runner of %s stopped: %s", self.load.model, self._reason)
        if words := self.process.last_words():
            _log.error("its last words: %s", words)

    def _stopped_text(self) -> str:
        return f"{_STOPPED}: {self._reason}" if self._reason else _STOPPED

    # ---- ps

    def describe(self) -> LoadedModel:
        """Its line of `ps`. One that leaves expires as it is told of."""
        assert self.loaded is not None
        since = self._idle_since if self.is_idle else datetime.now().astimezone()
        left = 0 if self.is_leaving else self.keep_alive
        return LoadedModel(
            name=self.load.model,
            digest=self.load.digest,
            size=self.memory,
            context_length=self.loaded.num_ctx,
            expires_at=since + timedelta(microseconds=left // 1000),
        )
