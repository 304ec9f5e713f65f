"""The decoding rows of an engine, one token ahead of what is reported.

Invariant: between two steps `_launch` holds one unread token for every decoding row but those in `joining`,
and every such row's cache covers its context.
"""

from collections.abc import Callable

import mlx.core as mx

from mlx_ollama.engine import grammar
from mlx_ollama.engine.batch import Batch, Launch, Sample, read
from mlx_ollama.engine.sequence import GrammarFault, Sequence, SequenceStatus


class Decoder:
    """`take` is told every sample as it is read; `fault` of a row that fails alone."""

    def __init__(
        self,
        batch: Batch,
        vocab_size: int,
        take: Callable[[Sample], None],
        fault: Callable[[Sequence, str], None],
    ) -> None:
        self.joining: list[Sequence] = []
        self._batch = batch
        self._vocab_size = vocab_size
        self._take = take
        self._fault = fault
        self._launch: Launch | None = None
        self._must_redraw = False

    def join(self, row: Sequence) -> None:
        """Its prompt is in its cache but for the last token, which the next step feeds."""
        row.status = SequenceStatus.DECODING
        row.cache.settle(row.limit - row.output)
        self.joining.append(row)

    def start_grammar(self, row: Sequence) -> None:
        """From its next token on, although that has been sampled already."""
        row.grammar_active = True
        self._must_redraw = True

    def step(self) -> None:
        """Feed what was sampled, read it, and sample again; in that order unless a grammar must know first."""
        if self._must_redraw:
            self._redraw()
        pending, self._launch = self._launch, None
        rows, inputs, ahead = self._next_inputs(pending)
        if not rows:
            self._batch.forget()
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
        going = [i for i, row in enumerate(rows) if decodes(row) and _continues(row)]
        parts: list[mx.array] = []
        if going and pending is not None:
            whole = len(going) == len(rows)
            parts.append(pending.tokens if whole else pending.tokens[mx.array(going)])
        if self.joining:
            parts.append(mx.array([row.context[-1] for row in self.joining], dtype=mx.int32))
        fed = [rows[i] for i in going] + self.joining
        ahead = [1] * len(going) + [0] * len(self.joining)
        self.joining = []
        if not parts:
            return [], mx.array([]), []
        return fed, parts[0] if len(parts) == 1 else mx.concatenate(parts), ahead

    def _report(self, pending: Launch | None) -> None:
        if pending is None:
            return
        for sample in read(pending):
            if decodes(sample.row):
                self._take(sample)

    # ---- grammars

    def _sample_constrained(self, rows: list[Sequence], logits: mx.array, inputs: mx.array) -> None:
        """Sample with every earlier token known: rows that ended or shifted meanwhile drop out."""
        mask = grammar.open_masks(len(rows), self._vocab_size)
        for row, bits in zip(rows, mask, strict=True):
            if decodes(row) and row.grammar_active:
                self._fill(row, bits)
        alive = [i for i, row in enumerate(rows) if decodes(row)]
        if not alive:
            return
        if len(alive) < len(rows):
            index = mx.array(alive)
            logits, inputs, mask = logits[index], inputs[index], mask[alive]
        kept = [rows[i] for i in alive]
        masks = grammar.to_array(mask)
        self._launch = self._batch.sample(kept, logits, inputs, [0] * len(kept), masks)
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


def decodes(row: Sequence) -> bool:
    return row.status is SequenceStatus.DECODING


def _continues(row: Sequence) -> bool:
    """Whether the row needs a token after the one that is pending."""
    return row.output + 1 < row.limit and len(row.context) + 1 < row.request.num_ctx
