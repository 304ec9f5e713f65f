"""Which models are loaded, and who may use them."""

import asyncio
import contextlib
import logging
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Generator
from functools import partial

from msgspec import structs

from mlx_ollama.errors import Busy, Canceled, LoadFailed
from mlx_ollama.ipc.messages import Load
from mlx_ollama.supervisor import memory, placement
from mlx_ollama.supervisor.lease import Lease
from mlx_ollama.supervisor.runner import Gone, Runner
from mlx_ollama.supervisor.spec import Limits, LoadedModel, RunnerSpec

_log = logging.getLogger(__name__)
QUEUE_FULL = "server busy, please try again.  maximum pending requests exceeded"
SHUTTING_DOWN = "server is shutting down"
_DEFAULT_MAX_LOADED = 3
_CRASHES, _CRASH_WINDOW_SECONDS, _BACK_OFF_SECONDS = 3, 60.0, 5.0


class _Loading:
    """One load that several requests may wait for."""

    def __init__(self, task: asyncio.Task[Runner]) -> None:
        self.task = task
        self.waiters = 0

    def leave(self) -> None:
        """Nobody waits any more."""
        if not self.task.done():
            self.task.cancel()
        elif not self.task.cancelled() and self.task.exception() is None:
            self.task.result().let_go()


class Supervisor:
    """Made inside a running event loop; `close` before the loop ends.

    Invariants: one runner a model takes requests, others of it are leaving; loads happen one at a time (only the
    making of weights goes on beside); a load nobody waits for is cancelled; `_admitted` counts the leases that
    are held or waited for, by model.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._budget = self._limits.memory or memory.budget()
        self._max_loaded = self._limits.max_loaded or _DEFAULT_MAX_LOADED
        self._runners: list[Runner] = []
        self._loading: dict[str, _Loading] = {}
        self._admitted: Counter[str] = Counter()
        self._crashes: dict[str, deque[float]] = {}
        self._needed: dict[str, int] = {}
        self._one_load = asyncio.Lock()
        self._changed = asyncio.Event()
        self._is_closing = False

    # ---- leases

    @contextlib.asynccontextmanager
    async def lease(
        self, spec: RunnerSpec, keep_alive: int | None = None
    ) -> AsyncGenerator[Lease, None]:
        """A place on the model's runner, loading it first if need be.

        `keep_alive` is nanoseconds: None keeps what the model has (first load: the limit's), negative is forever,
        0 unloads when the last request ends. Raises Busy when the queue is full, LoadFailed when the model cannot
        be loaded. Loading only (`/api/generate` without a prompt): enter and leave.
        """
        asked = time.monotonic_ns()
        with self._admit(spec):
            take = partial(self._take, spec, keep_alive)
            lease = Lease(await take(), take, asked)
            try:
                yield lease
            finally:
                lease.close()

    @contextlib.contextmanager
    def _admit(self, spec: RunnerSpec) -> Generator[None, None, None]:
        if self._is_closing:
            raise Busy(SHUTTING_DOWN)
        self._admitted[spec.key] += 1
        try:
            if self._waiting_count() > self._limits.max_queue:
                raise Busy(QUEUE_FULL)
            yield
        finally:
            self._admitted[spec.key] -= 1
            if not self._admitted[spec.key]:
                del self._admitted[spec.key]

    def _waiting_count(self) -> int:
        """Leases that have no slot: those of a model that is loading count against the slots it will have."""
        return sum(max(0, count - self._slots(key)) for key, count in self._admitted.items())

    def _slots(self, key: str) -> int:
        runner = self._find(key)
        return runner.slots if runner else self._limits.parallel

    def _find(self, key: str) -> Runner | None:
        return next((one for one in self._runners if one.key == key and not one.is_leaving), None)

    async def _take(self, spec: RunnerSpec, keep_alive: int | None) -> Runner:
        """A slot of a runner that suits."""
        while True:
            runner = self._find(spec.key)
            is_ready = runner is not None and runner.loaded is not None
            if runner is not None and is_ready and runner.suits(spec.load.num_ctx):
                with contextlib.suppress(Gone):
                    await runner.acquire(keep_alive)
                    return runner
                continue
            async with self._join_load(spec) as runner:
                if runner.suits(spec.load.num_ctx):
                    with contextlib.suppress(Gone):
                        await runner.acquire(keep_alive)
                        return runner

    # ---- loading

    @contextlib.asynccontextmanager
    async def _join_load(self, spec: RunnerSpec) -> AsyncGenerator[Runner, None]:
        """The loaded runner, held for all who waited for it; the last to leave an unfinished load cancels it."""
        if self._is_closing:
            raise Busy(SHUTTING_DOWN)
        key = spec.key
        loading = self._loading.get(key)
        if loading is None:
            task = asyncio.create_task(self._load(spec), name=f"load of {spec.load.model}")
            loading = self._loading[key] = _Loading(task)
            task.add_done_callback(lambda _: self._forget(key, loading))
        loading.waiters += 1
        try:
            yield await asyncio.shield(loading.task)
        except asyncio.CancelledError:
            if self._is_closing and loading.task.cancelled():
                raise Busy(SHUTTING_DOWN) from None
            raise
        finally:
            loading.waiters -= 1
            if not loading.waiters:
                self._forget(key, loading)
                loading.leave()

    def _forget(self, key: str, loading: _Loading) -> None:
        if self._loading.get(key) is loading:
            del self._loading[key]

    async def _load(self, spec: RunnerSpec) -> Runner:
        self._check_crashes(spec.key)
        load = await self._prepared(spec)
        async with self._one_load:
            self._replace(spec)
            room = await self._make_room(spec)
            if not load.memory_limit:
                load = structs.replace(load, memory_limit=room)
            return await self._start(load)

    async def _prepared(self, spec: RunnerSpec) -> Load:
        if spec.prepare is None:
            return spec.load
        load: Load | None = None
        async with contextlib.aclosing(spec.prepare()) as steps:
            while True:
                limit = self._limits.load_timeout / 1e9
                try:
                    step = await asyncio.wait_for(anext(steps, None), limit)
                except TimeoutError:
                    raise LoadFailed(
                        "timed out waiting for the model's weights to be made"
                    ) from None
                if step is None:
                    break
                load = step if isinstance(step, Load) else load
        if load is None:
            raise LoadFailed("the model's weights could not be made")
        return structs.replace(load, num_ctx=spec.load.num_ctx)

    def _replace(self, spec: RunnerSpec) -> None:
        """Runners that this load makes obsolete: the same model otherwise loaded, or the name's former model."""
        for runner in self._runners:
            is_same = runner.key == spec.key
            if is_same or (runner.load.model == spec.load.model and spec.load.model):
                runner.leave()

    async def _make_room(self, spec: RunnerSpec) -> int:
        """Evict or wait until the model fits; the bytes it may use."""
        while True:
            self._changed.clear()
            if any(runner.key == spec.key for runner in self._runners):
                await self._changed.wait()
                continue
            match self._decide(spec):
                case placement.Load(memory=room):
                    return room
                case placement.Evict(key=key):
                    self._evict(key)
                case placement.Wait():
                    await self._changed.wait()
                case placement.Refuse():
                    raise LoadFailed(self._refusal(spec))

    def _decide(self, spec: RunnerSpec) -> placement.Decision:
        needed = max(memory.estimate(spec.size), self._needed.get(spec.key, 0))
        residents = [
            placement.Resident(
                key=runner.key,
                memory=runner.memory,
                is_idle=runner.is_idle,
                used=runner.used,
                is_leaving=runner.is_leaving,
            )
            for runner in self._runners
        ]
        return placement.place(
            needed, spec.size, residents, budget=self._budget, max_loaded=self._max_loaded
        )

    def _refusal(self, spec: RunnerSpec) -> str:
        needed, free = memory.human(spec.size), memory.human(self._budget)
        reserved = memory.human(max(0, memory.physical() - self._budget))
        return f"model requires {needed} but only {free} are available (after {reserved} overhead)"

    def _evict(self, key: str) -> None:
        runner = self._find(key)
        if runner is not None:
            _log.info("unloading %s to make room", runner.load.model)
            runner.leave()

    async def _start(self, load: Load) -> Runner:
        runner = await Runner.start(load, self._limits)
        runner.on_change = partial(self._on_change, runner)
        self._runners.append(runner)
        try:
            await runner.wait_loaded()
        except asyncio.CancelledError:
            await runner.stop()
            raise
        return runner

    def _on_change(self, runner: Runner) -> None:
        self._needed[runner.key] = max(runner.memory, self._needed.get(runner.key, 0))
        if runner.ended.is_set() and runner in self._runners:
            self._runners.remove(runner)
            if runner.crashed:
                self._crashes.setdefault(runner.key, deque(maxlen=_CRASHES)).append(
                    time.monotonic()
                )
        self._changed.set()

    def _check_crashes(self, key: str) -> None:
        times, now = self._crashes.get(key, deque()), time.monotonic()
        is_crashing = len(times) == _CRASHES and now - times[0] < _CRASH_WINDOW_SECONDS
        if is_crashing and now - times[-1] < _BACK_OFF_SECONDS:
            raise LoadFailed("model keeps crashing, try again in a few seconds")

    # ---- the rest

    def unload(self, digest: str) -> None:
        """The model's runner goes when its running requests end; at once when there are none."""
        runner = self._find(digest)
        if runner is None:
            return
        if runner.loaded is None:
            runner.keep_alive = 0  # those who wait for it come first
        else:
            runner.leave()

    def loaded(self) -> list[LoadedModel]:
        """Ready models, longest remaining time first."""
        ready = [one.describe() for one in self._runners if one.loaded and not one.ended.is_set()]
        return sorted(ready, key=lambda model: model.expires_at, reverse=True)

    async def close(self, grace_seconds: float = 5.0) -> None:
        """Refuse new leases, let running requests end for `grace_seconds`, then end every runner."""
        self._is_closing = True
        loads = [loading.task for loading in self._loading.values()]
        for task in loads:
            task.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_seconds):
                await self._until_idle()
        await asyncio.gather(*loads, return_exceptions=True)
        stops = [runner.stop(Canceled(SHUTTING_DOWN)) for runner in list(self._runners)]
        await asyncio.gather(*stops)

    async def _until_idle(self) -> None:
        while any(not runner.is_idle for runner in self._runners):
            self._changed.clear()
            await self._changed.wait()
