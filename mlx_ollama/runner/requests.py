"""The requests of one runner, from their arrival to their last word.

Threads: `handle` is called by the socket's reader; each request is prepared on a text thread of its own, which
may be abandoned; `answers` turns the tokens of a step into text while the engine computes the next.

Invariants: `_jobs` holds exactly the requests that have had no last word, and whoever takes one out says it.
A running job is in `_running` under its number in the engine, which changes when its sequence is restarted.
"""

import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mlx_ollama.engine.engine import Engine
from mlx_ollama.engine.sequence import Event, FaultEvent, Request
from mlx_ollama.errors import MlxOllamaError
from mlx_ollama.ipc.messages import (
    Chat,
    Done,
    Fault,
    FaultKind,
    FromRunner,
    Generate,
    Memory,
    Metrics,
    Rendered,
)
from mlx_ollama.prompt.conversation import TemplateError
from mlx_ollama.runner.deadline import Work, Workers
from mlx_ollama.runner.engine_thread import EngineThread
from mlx_ollama.runner.metrics import Step
from mlx_ollama.runner.model import Model
from mlx_ollama.runner.outbox import Outbox
from mlx_ollama.runner.request import Prepared, prepare

logger = logging.getLogger(__name__)

TEXT_SECONDS = 2.5  # for rendering and tokenizing an ordinary request
CHARACTERS_A_SECOND = 400_000  # what a tokenizer manages at its slowest
IMAGE_SECONDS = 2.0  # for decoding and resizing the largest one that is allowed
VOCABULARY_SECONDS = 10.0  # the first grammar reads the whole vocabulary
STEPS_BEHIND = 64  # steps whose text may be due before the engine waits


@dataclass(eq=False)
class Job:
    """`number` and `prepared` are set once it has gone to the engine."""

    message: Chat | Generate
    number: int = 0
    prepared: Prepared | None = None


class Requests:
    """`on_idle` is called (with the lock held by nobody) whenever the last request has had its last word."""

    def __init__(
        self, model: Model, engine: EngineThread, outbox: Outbox, on_idle: Callable[[], None]
    ) -> None:
        self._model, self._engine, self._outbox, self._on_idle = model, engine, outbox, on_idle
        self._lock = threading.Lock()
        self._jobs: dict[int, Job] = {}
        self._running: dict[int, Job] = {}
        self._numbers = itertools.count(1)
        self.workers = Workers()
        self._steps: queue.Queue[tuple[Sequence[Event], Step, Memory | None]] = queue.Queue(
            STEPS_BEHIND
        )
        threading.Thread(target=self._answer_steps, name="answers", daemon=True).start()

    @property
    def count(self) -> int:
        """Requests without a last word."""
        return len(self._jobs)

    # ---- arriving

    def begin(self, message: Chat | Generate) -> None:
        """Prepare a request on a thread of its own, then hand it to the engine."""
        job, number = Job(message), next(self._numbers)
        with self._lock:
            self._jobs[message.id] = job
        work = Work(
            run=lambda: prepare(message, number, self._model),
            done=lambda prepared: self._prepared(job, prepared),
            fail=lambda error: self._refuse(job, error),
            overrun=lambda: self._say_last(job, [_took_too_long(message)]),
            deadline=self._deadline(message),
        )
        self.workers.start(work)

    def _deadline(self, message: Chat | Generate) -> float:
        size = sum(len(part.content) for part in message.messages)
        if isinstance(message, Generate):
            size += len(message.prompt)
        images = sum(len(part.images) for part in message.messages)
        waits = message.format and not self._model.formats.is_ready
        extra = IMAGE_SECONDS * images + (VOCABULARY_SECONDS if waits else 0)
        return TEXT_SECONDS + size / CHARACTERS_A_SECOND + extra

    def _prepared(self, job: Job, prepared: Prepared | Rendered) -> None:
        if isinstance(prepared, Rendered):
            self._say_last(job, [prepared])
            return
        with self._lock:
            if self._jobs.get(job.message.id) is not job:
                return  # aborted meanwhile
            job.prepared, job.number = prepared, prepared.request.id
            self._running[job.number] = job
            self._submit(prepared, prepared.request)  # before any abort can be posted

    def _submit(self, prepared: Prepared, request: Request) -> None:
        self._engine.post(lambda engine: self._hand_over(engine, prepared, request))

    def _hand_over(self, engine: Engine, prepared: Prepared, request: Request) -> None:
        """On the engine's thread, where images become features."""
        if prepared.pictures:
            assert self._model.sight is not None
            try:
                images = self._model.sight.prompt(request.ids, prepared.pictures)
            except ValueError as error:
                now = time.monotonic_ns()
                fault = FaultEvent(id=request.id, message=str(error), kind="invalid")
                self.stepped([fault], Step(now, now))
                return
            request = replace(request, embeddings=images)
        engine.submit(request)

    def _refuse(self, job: Job, error: BaseException) -> None:
        number = job.message.id
        match error:
            case TemplateError():
                fault = Fault(id=number, kind=_whose(job), message=f"template error: {error}")
            case MlxOllamaError():
                fault = Fault(id=number, kind="invalid", message=str(error))
            case _:
                logger.error("a request could not be prepared", exc_info=error)
                fault = Fault(id=number, message="the request could not be prepared")
        self._say_last(job, [fault])

    # ---- running

    def abort(self, number: int) -> None:
        """End a request that nobody waits for: at once, or in the engine at its next step."""
        with self._lock:
            job = self._jobs.get(number)
            if job is None:
                return
            if job.prepared is not None:
                running = job.number
                self._engine.post(lambda engine: engine.abort(running))
                return
        self._say_last(job, [Done(id=number, reason="abort", metrics=Metrics())])

    def stepped(self, events: Sequence[Event], step: Step, memory: Memory | None = None) -> None:
        """Called by the engine's thread; waits only when text is far behind."""
        self._steps.put((events, step, memory))

    def _answer_steps(self) -> None:
        while True:
            events, step, memory = self._steps.get()
            messages: list[FromRunner] = [] if memory is None else [memory]
            ended = list[Job]()
            for event in events:
                job = self._running.get(event.id)
                if job is not None:
                    messages += self._answer(job, event, step)
                    if job.prepared is not None and job.prepared.answer.is_finished:
                        ended.append(job)
            stalled = self._outbox.put(messages)
            self._forget(ended)
            for number in stalled:
                self._give_up(number)

    def _answer(self, job: Job, event: Event, step: Step) -> list[FromRunner]:
        assert job.prepared is not None
        answer, messages = job.prepared.answer, list[FromRunner]()
        try:
            messages += answer.take(event, step)
        except Exception:
            logger.exception("an answer could not be read")
            messages += [answer.fail("the answer could not be read")]
        if answer.restart:
            answer.restart = False
            messages += self._restart(job)
        return messages

    def _restart(self, job: Job) -> list[FromRunner]:
        """Let the sequence go on under its grammar, from what is kept of it."""
        assert job.prepared is not None
        old, new = job.number, next(self._numbers)
        request = job.prepared.restarted(new)
        if request is None:
            return job.prepared.answer.end("length")
        with self._lock:
            del self._running[old]
            job.number = new
            self._running[new] = job
            self._engine.post(lambda engine: engine.stop(old))
            self._submit(job.prepared, request)
        return []

    def _forget(self, jobs: list[Job]) -> None:
        """Their last word is said; sequences that the engine has not ended itself are stopped."""
        for job in jobs:
            with self._lock:
                self._jobs.pop(job.message.id, None)
                self._running.pop(job.number, None)
            number = job.number
            self._engine.post(lambda engine, number=number: engine.stop(number))
        if jobs and not self._jobs:
            self._on_idle()

    def _give_up(self, number: int) -> None:
        """The server does not read this request's messages."""
        with self._lock:
            job = self._jobs.get(number)
        if job is not None and job.prepared is not None:
            logger.warning("request %s is cancelled: its messages are not read", number)
            last = job.prepared.answer.fail("canceled: the answer was read too slowly")
            self._outbox.put([last])
            self._forget([job])

    # ---- last words

    def _say_last(self, job: Job, messages: list[FromRunner]) -> None:
        """End a request that is not running."""
        with self._lock:
            if self._jobs.get(job.message.id) is not job or job.prepared is not None:
                return
            del self._jobs[job.message.id]
        self._outbox.put(messages)
        if not self._jobs:
            self._on_idle()


def _whose(job: Job) -> FaultKind:
    """A template of the request's own is the client's fault, the model's is not."""
    own = isinstance(job.message, Generate) and job.message.template
    return "invalid" if own else "failed"


def _took_too_long(message: Chat | Generate) -> Fault:
    text = "template error: rendering and tokenizing the prompt took too long"
    return Fault(id=message.id, kind="invalid", message=text)
