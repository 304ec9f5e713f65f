"""Decoding rows side by side, one token ahead.

A `Launch` is a step's samples, still being computed. The next step feeds them on, unread, and only then
reads them, so that the device never waits for Python. Rows whose sample is their last are not fed.
"""

from collections.abc import Sequence as Items
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from mlx_ollama.engine import logits as logit_rules, rows as row_views
from mlx_ollama.engine.sampler import Sampler, uniform
from mlx_ollama.engine.sequence import Sequence, TokenLogprob
from mlx_ollama.engine.tables import Tables
from mlx_ollama.engine.vision.steering import Steering

WINDOW_STEP = 64
"""Penalty windows are padded to multiples of it, so that few shapes are compiled."""


@dataclass(frozen=True, kw_only=True)
class Launch:
    """Tokens sampled for `rows` and not yet read. `logits` is kept only for a grammar that may yet start."""

    rows: list[Sequence]
    tokens: mx.array
    sound: mx.array
    logprobs: mx.array | None
    top_ids: mx.array | None
    top_logprobs: mx.array | None
    logits: mx.array | None

    def start(self) -> None:
        arrays = (self.tokens, self.sound, self.logprobs, self.top_ids, self.top_logprobs)
        mx.async_eval([array for array in arrays if array is not None])


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One row's token as read. `sound` False: the logits were not a model's answer."""

    row: Sequence
    token: int
    sound: bool
    logprob: float | None
    top: tuple[TokenLogprob, ...]


class Batch:
    """Forward and sample for whatever rows a step has; what depends on the set of rows is kept while it lasts."""

    def __init__(
        self, model: nn.Module, steering: Steering, tables: Tables, vocab_size: int
    ) -> None:
        self._model = model
        self._steering = steering
        self._tables = tables
        self._vocab_size = vocab_size
        self._fed: list[Sequence] = []
        self._views: list[row_views.RowView] = []
        self._sampled: list[Sequence] = []
        self._sampler: Sampler
        self._penalties: logit_rules.Penalties | None = None

    def forward(self, rows: list[Sequence], tokens: mx.array) -> mx.array:
        """(rows, vocab) logits after feeding each row its token."""
        if len(rows) == 1:
            caches = rows[0].cache.layers
        else:
            caches = self._side_by_side(rows)
        windows = [row.request.num_ctx for row in rows]
        deltas = [_delta(row) for row in rows]
        with self._tables.chosen(windows), self._steering.decode(deltas):
            logits = self._model(tokens[:, None], cache=caches)[:, -1]
        for row in rows:
            row.cache.length += 1
        return logits

    def _side_by_side(self, rows: list[Sequence]) -> list[row_views.RowView]:
        if rows != self._fed:
            layers = zip(*(row.cache.layers for row in rows), strict=True)
            self._views = [row_views.side_by_side(layer) for layer in layers]
            self._fed = list(rows)
        offset = mx.array([row.cache.length for row in rows])
        for view in self._views:
            row_views.set_offset(view, offset)
        return self._views

    def forget(self) -> None:
        """Let go of rows that have left."""
        self._fed, self._views = [], []

    def sample(
        self,
        rows: list[Sequence],
        logits: mx.array,
        inputs: mx.array,
        ahead: Items[int],
        masks: mx.array | None = None,
    ) -> Launch:
        """Sample each row. `inputs` are the tokens just fed; `ahead[i]` is 1 where that token has not been
        reported yet. `masks` as logits.apply_mask."""
        if rows != self._sampled:
            params = [row.request.sampling for row in rows]
            self._sampler = Sampler(params, self._vocab_size)
            active = any(logit_rules.has_penalties(p) for p in params)
            self._penalties = logit_rules.Penalties.of(params) if active else None
            self._sampled = list(rows)
        changed = logits
        if self._penalties is not None:
            changed = self._penalties.apply(changed, _windows(rows, inputs, ahead))
        if masks is not None:
            changed = logit_rules.apply_mask(changed, masks)
        numbers = [uniform(r.seed, r.output + a) for r, a in zip(rows, ahead, strict=True)]
        return _launch(rows, logits, self._sampler.sample(changed, numbers))


def _delta(row: Sequence) -> int:
    """By how much images before it shift a row's rotary positions."""
    images = row.request.embeddings
    return 0 if images is None else images.delta


def _launch(rows: list[Sequence], logits: mx.array, tokens: mx.array) -> Launch:
    """The samples with the log-probabilities that rows asked for, over the model's own distribution."""
    wanted = [r.request.sampling.top_logprobs for r in rows]
    count = max((n for n in wanted if n is not None), default=None)
    top_ids = top_logprobs = logprobs = None
    if count is not None:
        logprobs = logit_rules.log_probabilities(logits, tokens)
    if count:
        top_ids, top_logprobs = logit_rules.most_likely(logits, count)
    return Launch(
        rows=rows,
        tokens=tokens,
        sound=logit_rules.soundness(logits),
        logprobs=logprobs,
        top_ids=top_ids,
        top_logprobs=top_logprobs,
        logits=logits if any(_may_start_grammar(row) for row in rows) else None,
    )


def _may_start_grammar(row: Sequence) -> bool:
    return row.request.grammar is not None and not row.grammar_active


def _windows(rows: list[Sequence], inputs: mx.array, ahead: Items[int]) -> mx.array:
    """The tokens that penalties look at: reported ones, and the one just fed."""
    known: list[list[int]] = []
    for row, unreported in zip(rows, ahead, strict=True):
        params = row.request.sampling
        length = params.repeat_last_n if params.repeat_last_n >= 0 else row.request.num_ctx
        active = logit_rules.has_penalties(params)
        past = row.history if unreported else row.history[:-1]
        known.append(past[-(length - 1) :] if active and length > 1 else [])
    width = -(-max(map(len, known)) // WINDOW_STEP) * WINDOW_STEP
    padded = [[-1] * (width - len(tokens)) + tokens for tokens in known]
    window = mx.array(padded, dtype=mx.int32).reshape(len(rows), width)
    return mx.concatenate([window, inputs[:, None].astype(mx.int32)], axis=1)


def read(launch: Launch) -> list[Sample]:
    """Wait for a launch and take its tokens."""
    tokens: Any = launch.tokens.tolist()
    sound: Any = launch.sound.tolist()
    logprobs: Any = launch.logprobs.tolist() if launch.logprobs is not None else None
    tops = _read_tops(launch)
    samples: list[Sample] = []
    for i, row in enumerate(launch.rows):
        wanted = row.request.sampling.top_logprobs
        samples.append(
            Sample(
                row=row,
                token=tokens[i],
                sound=sound[i] > 0,
                logprob=None if wanted is None else min(logprobs[i], 0.0),
                top=tops[i][: wanted or 0],
            )
        )
    return samples


def _read_tops(launch: Launch) -> list[tuple[TokenLogprob, ...]]:
    if launch.top_ids is None or launch.top_logprobs is None:
        return [()] * len(launch.rows)
    ids: Any = launch.top_ids.tolist()
    values: Any = launch.top_logprobs.tolist()
    return [
        tuple(TokenLogprob(token, min(value, 0.0)) for token, value in zip(i, v, strict=True))
        for i, v in zip(ids, values, strict=True)
    ]
