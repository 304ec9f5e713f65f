"""Text work in threads that may be given up: untrusted templates and tokenizers can take for ever.

A thread cannot be killed. One that overruns is abandoned: its request gets an error, its result is dropped,
and it costs a share of the processor until it ends or the process does.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

TICK = 0.25  # seconds between looks at the clock while something runs


@dataclass(kw_only=True, eq=False)
class Work:
    """`run` does it, `fail` hears of an exception, `overrun` of a missed deadline. Exactly one of the three
    outcomes counts: after `overrun` the others are dropped."""

    run: Callable[[], Any]
    done: Callable[[Any], None]
    fail: Callable[[BaseException], None]
    overrun: Callable[[], None]
    deadline: float  # seconds
    started: float = 0.0
    is_abandoned: bool = field(default=False, init=False)
    is_over: bool = field(default=False, init=False)


class Workers:
    """One daemon thread a piece of work, and one that watches their deadlines.

    `on_tick` is called every quarter of a second while anything runs.

    Invariant: `abandoned` counts threads that still run though their request is over.
    """

    def __init__(self) -> None:
        self.on_tick: Callable[[], None] = lambda: None
        self._changed = threading.Condition()
        self._running = set[Work]()
        threading.Thread(target=self._watch, name="deadlines", daemon=True).start()

    @property
    def abandoned(self) -> int:
        with self._changed:
            return sum(work.is_abandoned for work in self._running)

    def start(self, work: Work) -> None:
        work.started = time.monotonic()
        with self._changed:
            self._running.add(work)
            self._changed.notify_all()
        threading.Thread(target=self._run, args=(work,), name="text", daemon=True).start()

    def _run(self, work: Work) -> None:
        report: Callable[[], None]
        try:
            report = partial(work.done, work.run())
        except BaseException as error:  # noqa: BLE001 - panics of a tokenizer are no Exception
            report = partial(work.fail, error)
        with self._changed:
            self._running.discard(work)
            counts, work.is_over = not work.is_abandoned, True
            self._changed.notify_all()
        if counts:
            report()

    def _watch(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._running))
                late = [work for work in self._running if self._is_late(work)]
                for work in late:
                    work.is_abandoned = True
            for work in late:
                work.overrun()
            self.on_tick()
            time.sleep(TICK)

    def _is_late(self, work: Work) -> bool:
        return not work.is_abandoned and time.monotonic() - work.started > work.deadline
