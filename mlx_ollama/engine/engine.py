"""One model's continuous batch: requests in, events out, a step at a time.

Invariants: every method is called from the one thread that loaded the model. A sequence is waiting,
prefilling, decoding or gone. At a step's end a decoding row's cache covers its prompt and every token
reported so far; one more token is already being computed.
"""

import time
from collections import deque
from dataclasses import dataclass

import mlx.core as mx

from mlx_ollama.engine import memory, prefill, scheduler
from mlx_ollama.engine.batch import Batch, Sample
from mlx_ollama.engine.decode import Decoder, decodes
from mlx_ollama.engine.loader import LoadedModel
from mlx_ollama.engine.prefix_cache import PrefixCache
from mlx_ollama.engine.sampler import new_seed
from mlx_ollama.engine.sequence import (
    Event,
    FaultEvent,
    FinishEvent,
    FinishReason,
    GrammarFault,
    Request,
    Sequence,
    SequenceStatus,
    TokenEvent,
)
from mlx_ollama.engine.tables import Tables

CLEAR_EVERY = 256
"""Steps between two clearings of MLX's buffer pool."""

UNLIMITED_WINDOWS = 10
"""Without num_predict a sequence may fill its window so many times, as Ollama's GGUF runner."""


class EngineFault(Exception):
    """The device gave what no model gives; nothing that it holds can be trusted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryUse:
    """Bytes. `kv` is live rows and prefix cache together."""

    active: int
    peak: int
    cache: int
    kv: int


class Engine:
    """`parallel`: rows at once (1 when the model's caches cannot stand side by side).

    `memory_limit`: bytes this process may use, 0: find out. `prefix_bytes`: budget of the prefix cache,
    None: a quarter of what the weights leave free. `target_gap`: seconds between two tokens of a stream
    while another's prompt is prefilled.
    """

    def __init__(
        self,
        model: LoadedModel,
        *,
        parallel: int = 1,
        memory_limit: int = 0,
        prefix_bytes: int | None = None,
        target_gap: float = 0.15,
    ) -> None:
        self.parallel = parallel if model.batchable else 1
        self._model = model
        self._budget = memory.Budget.of(model, memory_limit)
        room = self._budget.prefixes if prefix_bytes is None else prefix_bytes
        tables = Tables(model.model)
        self._prefill = prefill.Prefill(model.model, model.steering, tables, PrefixCache(room))
        batch = Batch(model.model, model.steering, tables, model.vocab_size)
        self._decoder = Decoder(batch, model.vocab_size, self._take, self._fault)
        self._chunk = scheduler.ChunkSize(target_gap)
        self._sequences: dict[int, Sequence] = {}
        self._waiting: deque[Sequence] = deque()
        self._events: list[Event] = []
        self._steps = 0
        self._decode_seconds = 0.0

    # ---- from outside

    def submit(self, request: Request) -> None:
        """Queue a request. Its own faults (bad token ids, too long) come as FaultEvent from step()."""
        fault = self._check(request)
        if fault is not None:
            self._events.append(FaultEvent(id=request.id, message=fault, kind="invalid"))
            return
        sequence = Sequence(
            request=request,
            seed=new_seed() if request.sampling.seed is None else request.sampling.seed,
            limit=_limit(request),
            context=list(request.ids),
            history=list(request.ids),
            grammar_active=request.grammar is not None and request.grammar_active,
        )
        self._sequences[request.id] = sequence
        self._waiting.append(sequence)

    def abort(self, request_id: int) -> None:
        """End a sequence now; FinishEvent(ABORT) comes with the next step. Unknown ids are ignored."""
        if self.stop(request_id):
            self._events.append(FinishEvent(id=request_id, finish=FinishReason.ABORT))

    def stop(self, request_id: int) -> bool:
        """End a sequence that met a stop string: as abort, but without an event. True when it ran."""
        sequence = self._sequences.get(request_id)
        if sequence is None:
            return False
        self._end(sequence)
        return True

    def start_grammar(self, request_id: int) -> None:
        """Constrain from the next token on (thinking has ended); the one already sampled is drawn again."""
        sequence = self._sequences.get(request_id)
        if sequence is not None and sequence.request.grammar is not None:
            self._decoder.start_grammar(sequence)

    @property
    def has_work(self) -> bool:
        """Whether step() would do anything."""
        return bool(self._sequences or self._events)

    def memory(self) -> MemoryUse:
        return MemoryUse(
            active=mx.get_active_memory(),
            peak=mx.get_peak_memory(),
            cache=mx.get_cache_memory(),
            kv=self._row_bytes() + self._prefill.prefixes.nbytes,
        )

    def step(self) -> list[Event]:
        """Admit, decode all rows, prefill one chunk, report. Blocks while computing.

        An exception out of it means that MLX failed: the process is to end with status 70.
        """
        started = time.perf_counter()
        self._admit()
        plan = self._plan()
        self._decoder.step()
        fed = self._feed(plan)
        self._observe(fed, time.perf_counter() - started, bool(plan.decode))
        self._steps += 1
        if self._steps % CLEAR_EVERY == 0:
            mx.clear_cache()
            self._relieve()
        events, self._events = self._events, []
        return events

    # ---- admission and memory

    def _check(self, request: Request) -> str | None:
        if self._model.is_encoder:
            return "this model gives embeddings only"
        if not request.ids:
            return "empty prompt"
        if min(request.ids) < 0 or max(request.ids) >= self._model.vocab_size:
            return "token id out of range"
        if len(request.ids) > request.num_ctx:
            return (
                "the prompt is longer than the context length currently available to the model; "
                "shorten the prompt, adjust the context length in settings, "
                "or use a model with a longer context length"
            )
        return None

    def _admit(self) -> None:
        if not self._waiting:
            return
        waiting = [
            scheduler.Waiting(id=s.request.id, bytes=self._budget.expected(s))
            for s in self._waiting
        ]
        running = [s for s in self._sequences.values() if s not in self._waiting]
        free = self._budget.room - sum(self._budget.expected(s) for s in running)
        decision = scheduler.admit(waiting, len(running), self.parallel, free)
        for _ in decision.refuse:
            self._refuse(self._waiting[0])
        for _ in decision.admit:
            self._begin(self._waiting.popleft())
        if decision.admit:
            self._relieve()

    def _refuse(self, sequence: Sequence) -> None:
        self._end(sequence)
        message = self._budget.refusal(self._budget.expected(sequence))
        self._events.append(FaultEvent(id=sequence.request.id, message=message, kind="busy"))

    def _relieve(self) -> None:
        """Rows come first: prefixes give way, and then the youngest row."""
        prefixes = self._prefill.prefixes
        free = self._budget.room - self._row_bytes()
        prefixes.shrink(max(0, min(prefixes.budget, free)))
        while free < 0 and len(self._sequences) > 1:
            youngest = next(s for s in reversed(self._sequences.values()) if s.lease is not None)
            free += youngest.cache.nbytes
            self._refuse(youngest)

    def _row_bytes(self) -> int:
        return sum(s.cache.nbytes for s in self._sequences.values() if s.cache is not None)

    # ---- prefill

    def _begin(self, sequence: Sequence) -> None:
        """To prefill what its cache lacks, or straight to decode."""
        if sequence.limit <= 0:
            self._finish(sequence, FinishReason.LENGTH)
            return
        self._prefill.add(sequence)

    def _plan(self) -> scheduler.Plan:
        decoding = [s.request.id for s in self._sequences.values() if decodes(s)]
        waiting = self._prefill.pending()
        chunk = self._chunk.tokens(others_decode=bool(decoding))
        if waiting:
            chunk = self._budget.bounded_chunk(chunk, waiting[0].tokens)
        return scheduler.plan(waiting, decoding, chunk)

    def _feed(self, plan: scheduler.Plan) -> int:
        fed = 0
        for chunk in plan.prefill:
            sequence = self._sequences.get(chunk.id)
            if sequence is None or sequence.status is not SequenceStatus.PREFILLING:
                continue
            fed += self._prefill.feed(sequence, chunk.tokens)
            if not sequence.output:
                self._events.append(prefill.progress(sequence))
            if sequence.unfed == 0:
                self._ready(sequence)
        return fed

    def _ready(self, sequence: Sequence) -> None:
        """A prompt that is in its cache: decode, if there is room for a token."""
        if len(sequence.context) < sequence.request.num_ctx:
            self._decoder.join(sequence)
        elif self._prefill.shift(sequence):
            self._prefill.add(sequence)
        else:
            self._finish(sequence, FinishReason.LENGTH)

    def _observe(self, fed: int, seconds: float, decoded: bool) -> None:
        """Learn what a decode step and what a chunk cost."""
        if fed:
            self._chunk.observe(fed, seconds - self._decode_seconds * decoded)
        elif decoded:
            self._decode_seconds += (seconds - self._decode_seconds) / 8

    # ---- decode

    def _take(self, sample: Sample) -> None:
        """Report one token, and end or shift its row where that is due."""
        row = sample.row
        if not sample.sound:
            self._unsound(row)
        elif not row.grammar_active or self._allow(row, sample.token):
            row.append(sample.token)
            self._report(sample, self._finish_reason(row, sample.token))

    def _allow(self, row: Sequence, token: int) -> bool:
        try:
            row.request.grammar.allow(token)
        except GrammarFault as error:
            self._fault(row, str(error))
            return False
        return True

    def _finish_reason(self, row: Sequence, token: int) -> FinishReason | None:
        """Why this token is the row's last; a full window is shifted where that is allowed."""
        if token in row.request.end_tokens:
            return FinishReason.STOP
        if row.grammar_active and row.request.grammar.is_finished and not row.request.end_tokens:
            return FinishReason.STOP
        if row.output >= row.limit:
            return FinishReason.LENGTH
        if len(row.context) < row.request.num_ctx:
            return None
        if not self._prefill.shift(row):
            return FinishReason.LENGTH
        self._prefill.add(row)
        return None

    def _report(self, sample: Sample, finish: FinishReason | None) -> None:
        self._events.append(
            TokenEvent(
                id=sample.row.request.id,
                token=sample.token,
                logprob=sample.logprob,
                top=sample.top,
                finish=finish,
            )
        )
        if finish is not None:
            self._end(sample.row)

    # ---- endings

    def _end(self, sequence: Sequence, keep: bool = True) -> None:
        """It leaves whatever it was in; nobody is told. `keep`: its cache is worth storing."""
        for place in (self._waiting, self._prefill.queue, self._decoder.joining):
            if sequence in place:
                place.remove(sequence)
        sequence.status = SequenceStatus.ENDED
        del self._sequences[sequence.request.id]
        if sequence.lease is None:
            return
        if keep and sequence.cache.length <= len(sequence.context):
            self._prefill.prefixes.give_back(sequence.lease)
        else:
            self._prefill.prefixes.discard(sequence.lease)

    def _finish(self, sequence: Sequence, reason: FinishReason) -> None:
        self._end(sequence)
        self._events.append(FinishEvent(id=sequence.request.id, finish=reason))

    def _fault(self, sequence: Sequence, message: str) -> None:
        self._end(sequence, keep=False)
        self._events.append(FaultEvent(id=sequence.request.id, message=message))

    def _unsound(self, row: Sequence) -> None:
        """On Metal a command that failed late leaves zeros or NaN for everybody; on the CPU it is the model."""
        if mx.metal.is_available():
            raise EngineFault("the device returned logits that are not finite")
        self._fault(row, "the model produced values that are not finite")


def _limit(request: Request) -> int:
    if request.max_tokens is not None:
        return request.max_tokens
    windows = UNLIMITED_WINDOWS if request.shift else 1
    return windows * request.num_ctx
