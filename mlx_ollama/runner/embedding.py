"""Texts to vectors (contract 10): tokenized on a text thread, embedded a batch at a time between the engine's steps.

Invariants: `_open` holds exactly the requests without a last word, and whoever takes one out says it; the engine's
thread runs one batch and lets streams have their step before the next.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from mlx_ollama.engine.embeddings import Embedder, batches
from mlx_ollama.errors import InvalidRequest, MlxOllamaError
from mlx_ollama.ipc.messages import Done, Embed, Fault, FromRunner, Metrics, Progress, Vectors
from mlx_ollama.runner.deadline import Work, Workers
from mlx_ollama.runner.engine_thread import EngineThread
from mlx_ollama.runner.model import Model
from mlx_ollama.runner.outbox import Outbox

TEXT_SECONDS = 2.5
CHARACTERS_A_SECOND = 400_000
CHARACTERS_A_TOKEN = 64
FLOOR = 1e-12  # of a vector's length, as Ollama's

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


@dataclass(eq=False)
class Job:
    """`rows` are the ids of each input; `waiting` the batches to come, as indices of rows."""

    message: Embed
    rows: list[list[int]] = field(default_factory=list)
    waiting: list[list[int]] = field(default_factory=list)
    vectors: dict[int, Floats] = field(default_factory=dict)
    began: int = 0


class Embeddings:
    """`embedder` None: the model gives no vectors. `on_idle` as that of Requests."""

    def __init__(
        self,
        model: Model,
        embedder: Embedder | None,
        engine: EngineThread,
        outbox: Outbox,
        workers: Workers,
        on_idle: Callable[[], None],
    ) -> None:
        self._model, self._embedder, self._engine = model, embedder, engine
        self._outbox, self._workers, self._on_idle = outbox, workers, on_idle
        self._lock = threading.Lock()
        self._open: dict[int, Job] = {}

    @property
    def count(self) -> int:
        """Requests without a last word."""
        return len(self._open)

    def begin(self, message: Embed) -> None:
        """Tokenize on a thread that may be abandoned, then embed."""
        job = Job(message)
        with self._lock:
            self._open[message.id] = job
        if self._embedder is None:
            text = "this model does not support embeddings"
            self._end(job, Fault(id=message.id, kind="not_implemented", message=text))
            return
        size = sum(map(len, message.inputs))
        work = Work(
            run=lambda: self._rows(message),
            done=lambda rows: self._queue(job, rows),
            fail=lambda error: self._refuse(job, error),
            overrun=lambda: self._refuse(job, InvalidRequest("tokenizing took too long")),
            deadline=TEXT_SECONDS + size / CHARACTERS_A_SECOND,
        )
        self._workers.start(work)

    def abort(self, number: int) -> None:
        """End a request that nobody waits for; a batch that is running goes on to its end."""
        job = self._open.get(number)
        if job is not None:
            self._end(job, Done(id=number, reason="abort", metrics=Metrics()))

    # ---- text

    def _rows(self, message: Embed) -> list[list[int]]:
        limit = self._model.num_ctx
        if message.num_ctx > 0:
            limit = min(limit, message.num_ctx)
        tokenizer = self._model.tokenizer
        front, back = tokenizer.frame
        room = limit - len(front) - len(back)
        if room <= 0:
            raise InvalidRequest("input after truncation exceeds maximum context length")
        rows = list[list[int]]()
        for text in message.inputs:
            bound = room * CHARACTERS_A_TOKEN
            ids = tokenizer.encode(text[:bound])
            if not message.truncate and (len(ids) > room or len(text) > bound):
                raise InvalidRequest("the input length exceeds the context length")
            rows.append([*front, *ids[:room], *back] or [0])
        return rows

    def _refuse(self, job: Job, error: BaseException) -> None:
        text = str(error) if isinstance(error, MlxOllamaError) else "the input cannot be tokenized"
        self._end(job, Fault(id=job.message.id, kind="invalid", message=text))

    # ---- vectors, on the engine's thread

    def _queue(self, job: Job, rows: list[list[int]]) -> None:
        job.rows, job.waiting = rows, list(batches([len(row) for row in rows]))
        job.began = time.monotonic_ns()
        self._engine.post(lambda _: self._embed(job))

    def _embed(self, job: Job) -> None:
        """One batch; the next is posted behind whatever others want of the engine."""
        if self._open.get(job.message.id) is not job:
            return
        assert self._embedder is not None
        if job.waiting:
            batch = job.waiting.pop(0)
            pooled = np.array(self._embedder.embed([job.rows[index] for index in batch]))
            job.vectors |= dict(zip(batch, pooled, strict=True))
            self._show_life(job)
            self._engine.post(lambda _: self._embed(job))
            return
        self._end(job, self._answer(job))

    def _show_life(self, job: Job) -> None:
        """Or we pass for hung."""
        done = Progress(id=job.message.id, completed=len(job.vectors), total=len(job.rows))
        with self._lock:  # nothing may follow the last word of an abort
            if self._open.get(job.message.id) is job:
                self._outbox.put([done])

    def _answer(self, job: Job) -> FromRunner:
        message = job.message
        rows = [job.vectors[index] for index in range(len(job.rows))]
        data = np.stack(rows).astype("<f4") if rows else np.zeros((0, 0), "<f4")
        if not np.isfinite(data).all():
            text = "embedding contains NaN or Inf values"
            return Fault(id=message.id, kind="invalid", message=text)
        if message.normalize:
            data = _unit(data)
        if 0 < message.dimensions < data.shape[1]:
            data = _unit(data[:, : message.dimensions])
        return Vectors(
            id=message.id,
            data=data.tobytes(),
            count=data.shape[0],
            width=data.shape[1],
            tokens=sum(map(len, job.rows)),
            duration=max(time.monotonic_ns() - job.began, 1),
        )

    def _end(self, job: Job, last: FromRunner) -> None:
        with self._lock:
            if self._open.get(job.message.id) is not job:
                return
            del self._open[job.message.id]
            self._outbox.put([last])
        if not self._open:
            self._on_idle()


def _unit(rows: Floats) -> Floats:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.maximum(lengths, FLOOR)
