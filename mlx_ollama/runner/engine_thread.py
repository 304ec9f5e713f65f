"""The one thread that touches MLX: it loads the model and steps the engine.

Invariants: every call on the engine is made here; other threads post what they want of it. An exception out of
a step means that MLX failed, which nothing in this process can repair: it ends with status 70.
"""

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence

from mlx_ollama.engine.engine import Engine
from mlx_ollama.engine.sequence import Event
from mlx_ollama.ipc.messages import Memory
from mlx_ollama.runner.metrics import Step

logger = logging.getLogger(__name__)

ENGINE_FAILED = 70  # exit status: EX_SOFTWARE
MEMORY_INTERVAL = 1_000_000_000  # nanoseconds between two reports while working

Command = Callable[[Engine], object]
OnStep = Callable[[Sequence[Event], Step, Memory | None], None]


class EngineThread:
    """`on_step` hears of each step's events, and of the engine's memory about once a second while working; it is
    called on this thread and must not take long."""

    def __init__(self, on_step: OnStep) -> None:
        self._on_step = on_step
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._reported = 0

    def start(self, load: Callable[["EngineThread"], Engine | None]) -> None:
        """`load` makes the engine on this thread; None when it cannot and has said so."""
        threading.Thread(target=self._run, args=(load,), name="engine", daemon=True).start()

    def post(self, command: Command) -> None:
        """Have it done before the next step, in the order of posting."""
        self._commands.put(command)

    def _run(self, load: Callable[["EngineThread"], Engine | None]) -> None:
        try:
            engine = load(self)
            if engine is not None:
                self._steps(engine)
        except BaseException:
            logger.exception("the engine failed")
            os._exit(ENGINE_FAILED)

    def _steps(self, engine: Engine) -> None:
        while True:
            self._obey(engine)
            began = time.monotonic_ns()
            events = engine.step()
            ended = time.monotonic_ns()
            memory = self._memory(engine, ended)
            if events or memory:
                self._on_step(events, Step(began, ended), memory)

    def _memory(self, engine: Engine, now: int) -> Memory | None:
        if now - self._reported < MEMORY_INTERVAL:
            return None
        self._reported = now
        use = engine.memory()
        return Memory(active=use.active, peak=use.peak, cache=use.cache, kv=use.kv)

    def _obey(self, engine: Engine) -> None:
        """Carry out what was posted up to now; wait for something when there is nothing else to do."""
        while True:
            known = self._commands.qsize()
            for _ in range(known if engine.has_work else max(known, 1)):
                self._commands.get()(engine)
            if engine.has_work:
                return
