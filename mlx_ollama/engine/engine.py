"""One model's continuous batch: requests in, events out, a step at a time.

Invariants: every method is called from the one thread that loaded the model. A sequence is waiting,
prefilling, decoding or gone. At a step's end a decoding row's cache covers its prompt and every token
reported so far; one more token is already being computed (`Launch`).
"""

import logging
import time
from collections import deque
from dataclasses import dataclass

import mlx.core as mx

from mlx_ollama.engine import grammar, scheduler
from mlx_ollama.engine.batch import Batch, Launch, Sample, read
from mlx_ollama.engine.kv_cache import RowCache
from mlx_ollama.engine.loader import LoadedModel
from mlx_ollama.engine.sampler import new_seed
from mlx_ollama.engine.sequence import (
    Event,
    FaultEvent,
    FinishEvent,
    FinishReason,
    GrammarFault,
    PrefillEvent,
    Request,
    Sequence,
    SequenceStatus,
    TokenEvent,
)

log = logging.getLogger(__name__)

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
    None: a share of what the weights leave free. `target_gap`: seconds between two tokens of a stream
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
        self._batch = Batch(model.model, model.vocab_size)
        self._sequences: dict[int, Sequence] = {}
        self._waiting: deque[Sequence] = deque()
        self._prefilling: list[Sequence] = []
        self._joining: list[Sequence] = []
        self._launch: Launch | None = None
        self._chunk = scheduler.ChunkSize(target_gap)
        self._must_redraw = False
        self._events: list[Event] = []
        self._steps = 0
        self._decode_seconds = 0.0

    # ---- from outside

    def submit(self, request: Request) -> None:
        """Queue a request. Its own faults (bad token ids, too long) come as FaultEvent from step()."""
        fault = self._check(request)
        if fault is not None:
            self._events.append(fault)
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
            sequence.grammar_active = True
            self._must_redraw = True

    @property
    def has_work(self) -> bool:
        """Whether step() would do anything."""
        return bool(self._sequences or self._events)

    def memory(self) -> MemoryUse:
        rows = [s.cache for s in self._sequences.values() if s.cache is not None]
        return MemoryUse(
            active=mx.get_active_memory(),
            peak=mx.get_peak_memory(),
            cache=mx.get_cache_memory(),
            kv=sum(cache.nbytes for cache in rows),
        )

    def step(self) -> list[Event]:
        """Admit, prefill one chunk, decode all rows, sample, report. Blocks while computing.

        An exception out of it means that MLX failed: the process is to end with status 70.
        """
        self._admit()
        plan = self._plan()
        started = time.perf_counter()
        self._decode()
        self._prefill(plan, started)
        self._steps += 1
        if self._steps % CLEAR_EVERY == 0:
            mx.clear_cache()
        events, self._events = self._events, []
        return events

    # ---- admission

    def _check(self, request: Request) -> FaultEvent | None:
        vocabulary = range(self._model.vocab_size)
        if not request.ids:
            return FaultEvent(id=request.id, message="empty prompt", kind="invalid")
        if not all(token in vocabulary for token in request.ids):
            return FaultEvent(id=request.id, message="token id out of range", kind="invalid")
        if len(request.ids) > request.num_ctx:
            return FaultEvent(
                id=request.id,
                message="the prompt is longer than the context length currently available to the model",
                kind="invalid",
            )
        return None

    def _admit(self) -> None:
        waiting = [scheduler.Waiting(id=s.request.id, bytes=0) for s in self._waiting]
        running = len(self._sequences) - len(waiting)
        decision = scheduler.admit(waiting, running, self.parallel, 1 << 60)
        for _ in decision.admit:
            sequence = self._waiting.popleft()
            sequence.cache = RowCache(self._model.model)
            sequence.cache.reserve(len(sequence.context))
            self._begin(sequence)

    def _begin(self, sequence: Sequence) -> None:
        """To prefill what its cache lacks, or straight to decode."""
        if len(sequence.context) >= sequence.request.num_ctx and not self._shift(sequence):
            self._finish(sequence, FinishReason.LENGTH)
        elif sequence.unfed > 0:
            sequence.status = SequenceStatus.PREFILLING
            self._prefilling.append(sequence)
        else:
            self._join(sequence)

    def _join(self, sequence: Sequence) -> None:
        sequence.cache.settle()
        sequence.status = SequenceStatus.DECODING
        self._joining.append(sequence)

    def _end(self, sequence: Sequence) -> None:
        """It leaves whatever it was in; nobody is told."""
        if sequence.status is SequenceStatus.WAITING:
            self._waiting.remove(sequence)
        elif sequence.status is SequenceStatus.PREFILLING:
            self._prefilling.remove(sequence)
        elif sequence in self._joining:
            self._joining.remove(sequence)
        sequence.status = SequenceStatus.ENDED
        del self._sequences[sequence.request.id]

    def _finish(self, sequence: Sequence, reason: FinishReason) -> None:
        self._end(sequence)
        self._events.append(FinishEvent(id=sequence.request.id, finish=reason))

    def _fault(self, sequence: Sequence, message: str) -> None:
        self._end(sequence)
        self._events.append(FaultEvent(id=sequence.request.id, message=message))

    # ---- prefill

    def _plan(self) -> scheduler.Plan:
        decoding = [s.request.id for s in self._sequences.values() if _decodes(s)]
        return scheduler.plan(
            [scheduler.Prefilling(id=s.request.id, tokens=s.unfed) for s in self._prefilling],
            decoding,
            self._chunk.tokens(others_decode=bool(decoding)),
        )

    def _prefill(self, plan: scheduler.Plan, started: float) -> None:
        fed = 0
        for chunk in plan.prefill:
            sequence = self._sequences.get(chunk.id)
            if sequence is not None:
                self._feed(sequence, chunk.tokens)
                fed += chunk.tokens
        self._observe(fed, time.perf_counter() - started, bool(plan.decode))

    def _observe(self, fed: int, seconds: float, decoded: bool) -> None:
        """Learn what a decode step and what a chunk cost."""
        if not decoded:
            return
        if fed:
            self._chunk.observe(fed, seconds - self._decode_seconds)
        else:
            self._decode_seconds += (seconds - self._decode_seconds) / 8

    def _feed(self, sequence: Sequence, tokens: int) -> None:
        cache: RowCache = sequence.cache
        begin, end = cache.length, cache.length + tokens
        extra = {}
        if sequence.request.embeddings is not None:
            extra["input_embeddings"] = sequence.request.embeddings[None, begin:end]
        self._model.model(mx.array([sequence.context[begin:end]]), cache=cache.layers, **extra)
        cache.length = end
        mx.eval(cache.arrays())
        if not sequence.output:
            self._report_prefill(sequence)
        if sequence.unfed == 0:
            self._prefilling.remove(sequence)
            self._join(sequence)

    def _report_prefill(self, sequence: Sequence) -> None:
        self._events.append(
            PrefillEvent(
                id=sequence.request.id,
                done=sequence.cache.length,
                total=len(sequence.request.ids),
                cached=sequence.cached,
            )
        )

    def _shift(self, sequence: Sequence) -> bool:
        """Make room in a full window: num_keep tokens and the newer half of the rest are prefilled again.

        False when it may not be: by the request, or since a rotating or recurrent cache cannot go back.
        """
        request, cache = sequence.request, sequence.cache
        if not request.shift or not cache.is_plain or request.embeddings is not None:
            return False
        keep = len(request.ids) if request.num_keep < 0 else request.num_keep
        keep = min(keep, request.num_ctx - 4, len(sequence.context) - 2)
        if keep < 0:
            return False
        rest = sequence.context[keep:]
        sequence.context = sequence.context[:keep] + rest[len(rest) // 2 :]
        if cache.length > keep:
            cache.trim(keep)
        return True

    # ---- decode

    def _decode(self) -> None:
        """Feed what was sampled, read it, and sample again; in that order unless a grammar must know first."""
        if self._must_redraw:
            self._redraw()
        pending = self._launch
        rows, inputs, ahead = self._next_inputs(pending)
        self._launch = None
        if not rows:
            self._report(pending)
            return
        logits = self._batch.forward(rows, inputs)
        if any(row.grammar_active for row in rows):
            mx.async_eval(logits)
            self._report(pending)
            self._sample_constrained(rows, logits, inputs)
        else:
            self._launch = self._batch.sample(rows, logits, inputs, ahead)
            self._launch.start()
            self._report(pending)

    def _next_inputs(self, pending: Launch | None) -> tuple[list[Sequence], mx.array, list[int]]:
        """The rows to feed, their tokens, and 1 for those whose token is not read yet."""
        rows = pending.rows if pending is not None else []
        going = [i for i, row in enumerate(rows) if _decodes(row) and _continues(row)]
        parts: list[mx.array] = []
        if going and pending is not None:
            whole = len(going) == len(rows)
            parts.append(pending.tokens if whole else pending.tokens[mx.array(going)])
        if self._joining:
            parts.append(mx.array([s.context[-1] for s in self._joining], dtype=mx.int32))
        fed = [rows[i] for i in going] + self._joining
        ahead = [1] * len(going) + [0] * len(self._joining)
        self._joining = []
        if not parts:
            self._batch.forget()
            return [], mx.array([]), []
        return fed, parts[0] if len(parts) == 1 else mx.concatenate(parts), ahead

    def _sample_constrained(self, rows: list[Sequence], logits: mx.array, inputs: mx.array) -> None:
        """Sample with every earlier token known: rows that ended or shifted meanwhile drop out."""
        mask = grammar.open_masks(len(rows), self._model.vocab_size)
        for row, bits in zip(rows, mask, strict=True):
            if _decodes(row) and row.grammar_active:
                self._fill(row, bits)
        alive = [i for i, row in enumerate(rows) if _decodes(row)]
        if not alive:
            return
        if len(alive) < len(rows):
            index = mx.array(alive)
            logits, inputs, mask = logits[index], inputs[index], mask[alive]
        kept = [rows[i] for i in alive]
        bits = grammar.to_array(mask)
        self._launch = self._batch.sample(kept, logits, inputs, [0] * len(kept), bits)
        self._launch.start()

    def _fill(self, row: Sequence, bits: grammar.Mask) -> None:
        try:
            row.request.grammar.fill(bits)
        except GrammarFault as error:
            self._fault(row, str(error))

    def _redraw(self) -> None:
        """Sample the pending tokens again, now that a grammar has started; other rows draw the same."""
        pending, self._launch, self._must_redraw = self._launch, None, False
        if pending is None or pending.logits is None:
            self._launch = pending
            return
        last = mx.array([row.context[-1] for row in pending.rows], dtype=mx.int32)
        self._sample_constrained(pending.rows, pending.logits, last)

    def _report(self, pending: Launch | None) -> None:
        if pending is None:
            return
        for sample in read(pending):
            if _decodes(sample.row):
                self._take(sample)

    def _take(self, sample: Sample) -> None:
        """Report one token, and end or shift its row where that is due."""
        row = sample.row
        if not sample.sound:
            self._unsound(row)
            return
        if row.grammar_active and not self._allow(row, sample.token):
            return
        row.append(sample.token)
        full = len(row.context) >= row.request.num_ctx
        finish = None
        if sample.token in row.request.end_tokens:
            finish = FinishReason.STOP
        elif row.output >= row.limit or (full and not self._shift(row)):
            finish = FinishReason.LENGTH
        self._events.append(
            TokenEvent(
                id=row.request.id,
                token=sample.token,
                logprob=sample.logprob,
                top=sample.top,
                finish=finish,
            )
        )
        if finish is not None:
            self._end(row)
        elif full:
            self._begin(row)

    def _allow(self, row: Sequence, token: int) -> bool:
        try:
            row.request.grammar.allow(token)
        except GrammarFault as error:
            self._fault(row, str(error))
            return False
        return True

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


def _decodes(sequence: Sequence) -> bool:
    return sequence.status is SequenceStatus.DECODING


def _continues(row: Sequence) -> bool:
    """Whether the row needs a token after the one that is pending."""
    return row.output + 1 < row.limit and len(row.context) + 1 < row.request.num_ctx
