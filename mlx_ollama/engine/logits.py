"""Logits before sampling: penalties and masks; and log-probabilities of what the model itself said."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import mlx.core as mx

from mlx_ollama.engine.sequence import SamplingParams


def has_penalties(params: SamplingParams) -> bool:
    changes = (
        params.repeat_penalty != 1.0
        or params.presence_penalty != 0.0
        or params.frequency_penalty != 0.0
    )
    return changes and params.repeat_last_n != 0


@dataclass(frozen=True)
class Penalties:
    """llama.cpp's penalties over the last `repeat_last_n` tokens of prompt and output, one row each.

    Neutral settings leave a row's logits exactly as they are, so one computation serves all rows.
    """

    repeat: mx.array
    presence: mx.array
    frequency: mx.array

    @classmethod
    def of(cls, rows: Sequence[SamplingParams]) -> "Penalties":
        active = [has_penalties(p) for p in rows]
        return cls(
            _column([p.repeat_penalty if on else 1.0 for p, on in zip(rows, active, strict=True)]),
            _column(
                [p.presence_penalty if on else 0.0 for p, on in zip(rows, active, strict=True)]
            ),
            _column(
                [p.frequency_penalty if on else 0.0 for p, on in zip(rows, active, strict=True)]
            ),
        )

    def apply(self, logits: mx.array, window: mx.array) -> mx.array:
        """`window` (rows, n): token ids, -1 where there is none."""
        return _penalise(logits, window, self.repeat, self.presence, self.frequency)


def _column(values: list[float]) -> mx.array:
    return mx.array(values, dtype=mx.float32)[:, None]


@mx.compile
def _penalise(
    logits: mx.array, window: mx.array, repeat: mx.array, presence: mx.array, frequency: mx.array
) -> mx.array:
    logits = logits.astype(mx.float32)
    rows = mx.arange(window.shape[0])[:, None]
    counts = (
        mx.zeros_like(logits).at[rows, mx.maximum(window, 0)].add((window >= 0).astype(mx.float32))
    )
    penalised = mx.where(logits > 0, logits / repeat, logits * repeat)
    penalised = penalised - counts * frequency - presence
    return mx.where(counts > 0, penalised, logits)


def apply_mask(logits: mx.array, mask: mx.array) -> mx.array:
    """`mask` (rows, ceil(vocab / 32)) uint32, a bit a token, set where it may come next."""
    if mx.metal.is_available():
        return _metal_mask()(logits, mask)
    return _expanded_mask(logits, mask)


@cache
def _metal_mask() -> Callable[[mx.array, mx.array], mx.array]:
    """llguidance's kernel: one pass, where plain operations expand every bit."""
    kernel: Any = import_module("llguidance.mlx").apply_token_bitmask_kernel
    return kernel


@mx.compile
def _expanded_mask(logits: mx.array, mask: mx.array) -> mx.array:
    bits = (mask[..., None] >> mx.arange(32, dtype=mx.uint32)) & 1
    bits = bits.reshape(mask.shape[0], -1)
    width = logits.shape[-1]
    if bits.shape[-1] < width:
        bits = mx.pad(bits, [(0, 0), (0, width - bits.shape[-1])])
    return mx.where(bits[:, :width].astype(mx.bool_), logits, mx.array(-mx.inf, logits.dtype))


def log_probabilities(logits: mx.array, tokens: mx.array) -> mx.array:
    """(rows,) natural log of each chosen token's probability, before any sampling change."""
    logits = logits.astype(mx.float32)
    chosen = mx.take_along_axis(logits, tokens[:, None].astype(mx.int32), axis=-1)[:, 0]
    return chosen - mx.logsumexp(logits, axis=-1)


@mx.compile
def _normalise(logits: mx.array) -> mx.array:
    logits = logits.astype(mx.float32)
    return logits - mx.logsumexp(logits, axis=-1, keepdims=True)


def most_likely(logits: mx.array, count: int) -> tuple[mx.array, mx.array]:
    """(rows, count) token ids and log-probabilities, best first."""
    logprobs = _normalise(logits)
    count = min(count, logits.shape[-1])
    ids = mx.argpartition(-logprobs, kth=count - 1, axis=-1)[:, :count]
    values = mx.take_along_axis(logprobs, ids, axis=-1)
    order = mx.argsort(-values, axis=-1)
    return mx.take_along_axis(ids, order, axis=-1), mx.take_along_axis(values, order, axis=-1)


@mx.compile
def soundness(logits: mx.array) -> mx.array:
    """(rows,) 0 or NaN where a row cannot be a model's answer: NaN, infinite, or the same for every token.

    Metal reports some failures late and leaves zeros behind.
    """
    logits = logits.astype(mx.float32)
    top = logits.max(axis=-1)
    return mx.where(mx.abs(top) == mx.inf, mx.nan, top - logits.mean(axis=-1))
