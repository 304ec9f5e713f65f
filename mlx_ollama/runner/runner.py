"""The process: load the model, read the server's messages, end when the server does.

Exit status: 0 after a drain or when the server has closed, 1 when the model cannot be loaded, 70 when MLX
failed, 75 when abandoned work makes a fresh process the better one.
"""

import gc
import logging
import os
import resource
import socket
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mlx_ollama.engine.engine import Engine
from mlx_ollama.engine.sequence import Event
from mlx_ollama.errors import LoadFailed
from mlx_ollama.ipc import framing
from mlx_ollama.ipc.messages import (
    Abort,
    Chat,
    Drain,
    Embed,
    Fault,
    Generate,
    Load,
    Loaded,
    Memory,
    Progress,
    ToRunner,
)
from mlx_ollama.runner.embedding import Embeddings
from mlx_ollama.runner.engine_thread import EngineThread
from mlx_ollama.runner.metrics import Step
from mlx_ollama.runner.model import load_embedder, load_texts, load_weights, open_source, text_model
from mlx_ollama.runner.outbox import Outbox
from mlx_ollama.runner.requests import Requests

logger = logging.getLogger(__name__)

NOT_LOADED = 1
LOST_WORK = 75  # EX_TEMPFAIL
FLUSH_SECONDS = 1.0
LIFE_SECONDS = 1.0  # between two signs of life while loading
MAX_LOST_BYTES = 2 << 30  # what abandoned work may add before the process gives up everything


def leave(status: int) -> None:
    """End at once: threads that are stuck, or inside MLX, must not hold the process."""
    sys.stderr.flush()
    os._exit(status)


class Runner:
    """Invariant: the engine is used by `_engine`'s thread only; requests are accepted once `_requests` is there."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._outbox = Outbox(sock, lambda: leave(0))
        self._engine: EngineThread | None = None
        self._requests: Requests | None = None
        self._embeddings: Embeddings | None = None
        self._base_bytes = self._limit = 0
        self._shown = time.monotonic()  # when a conversion's progress was last told
        self._is_draining = False
        self._is_loaded = threading.Event()

    def run(self) -> None:
        """Serve until the server closes; does not return."""
        try:
            while (messages := framing.receive_to_runner(self._sock)) is not None:
                for message in messages:
                    self._handle(message)
        except (framing.BrokenFrame, OSError) as error:
            logger.warning("the server's connection broke: %s", error)
        leave(0)

    def _handle(self, message: ToRunner) -> None:
        match message:
            case Load():
                self._load(message)
            case Drain():
                self._is_draining = True
                self._leave_when_idle()
            case Abort():
                if self._requests is not None and self._embeddings is not None:
                    self._requests.abort(message.id)
                    self._embeddings.abort(message.id)
            case Chat() | Generate() | Embed():
                self._accept(message)

    def _accept(self, message: Chat | Generate | Embed) -> None:
        if self._requests is None or self._embeddings is None or self._is_draining:
            self._outbox.put([Fault(id=message.id, kind="busy", message="the model is not ready")])
        elif isinstance(message, Embed):
            self._embeddings.begin(message)
        else:
            self._requests.begin(message)

    # ---- loading

    def _load(self, load: Load) -> None:
        if self._engine is not None:
            self._outbox.put([Fault(message="a model is already loaded")])
            return
        self._engine = EngineThread(self._stepped)
        self._engine.start(lambda thread: self._make_engine(load, thread))
        threading.Thread(target=self._show_life, args=(load,), name="life", daemon=True).start()

    def _make_engine(self, load: Load, thread: EngineThread) -> Engine | None:
        try:
            source = open_source(load, self._converted)
            with ThreadPoolExecutor(1, "texts") as beside:  # MLX waits without the interpreter
                texts = beside.submit(load_texts, source.files)
                weights = load_weights(source)
                model = text_model(load, texts.result(), weights)
            embedder = load_embedder(source, weights)
        except LoadFailed as error:
            self._fail_to_load(str(error))
            return None
        parallel = load.parallel if weights.batchable else 1
        engine = Engine(weights, parallel=parallel, memory_limit=load.memory_limit)
        self._requests = Requests(model, thread, self._outbox, self._leave_when_idle)
        self._embeddings = Embeddings(
            model,
            embedder,
            thread,
            self._outbox,
            self._requests.workers,
            self._leave_when_idle,
        )
        self._base_bytes, self._limit = _peak_bytes(), load.memory_limit
        self._requests.workers.on_tick = self._leave_if_lost
        gc.collect()
        gc.freeze()
        self._is_loaded.set()
        loaded = Loaded(
            num_ctx=model.num_ctx,
            context_length=weights.context_length or model.num_ctx,
            memory=max(engine.memory().active, weights.bytes),
            parallel=parallel,
            vision=model.sight is not None,
        )
        self._outbox.put([loaded])
        return engine

    def _converted(self, completed: int, total: int) -> None:
        now = time.monotonic()
        if now - self._shown > LIFE_SECONDS:
            self._shown = now
            self._outbox.put([Progress(completed=completed, total=total)])

    def _fail_to_load(self, text: str) -> None:
        self._is_loaded.set()
        self._outbox.put([Fault(message=text)])
        self._outbox.flush(FLUSH_SECONDS)
        leave(NOT_LOADED)

    def _show_life(self, load: Load) -> None:
        """Progress while loading, as long as memory really fills: a load that hangs shows none."""
        total, last, base = _weight_bytes(load), 0, _peak_bytes()
        while not self._is_loaded.wait(LIFE_SECONDS):
            completed = min(_peak_bytes() - base, total)
            if completed > last:
                last = completed
                self._outbox.put([Progress(completed=completed, total=total)])

    # ---- ending

    def _stepped(self, events: Sequence[Event], step: Step, memory: Memory | None) -> None:
        assert self._requests is not None
        self._requests.stepped(events, step, memory)

    @property
    def _open(self) -> int:
        """Requests without a last word."""
        parts = (self._requests, self._embeddings)
        return sum(part.count for part in parts if part is not None)

    def _leave_when_idle(self) -> None:
        if self._is_draining and not self._open:
            self._outbox.flush(FLUSH_SECONDS)
            leave(0)

    def _leave_if_lost(self) -> None:
        """A fresh process is better than one whose processor abandoned work holds, once nobody else suffers."""
        assert self._requests is not None
        if not self._requests.workers.abandoned:
            return
        swollen = _peak_bytes() - self._base_bytes > (self._limit or MAX_LOST_BYTES)
        if swollen or not self._open:
            logger.warning("abandoned text work is still running: this runner ends")
            self._outbox.flush(FLUSH_SECONDS)
            leave(LOST_WORK)


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


def _weight_bytes(load: Load) -> int:
    paths = [Path(path) for path in load.tensors.values()]
    if load.directory:
        paths = list(Path(load.directory).glob("*.safetensors"))
    return sum(path.stat().st_size for path in paths if path.is_file())
