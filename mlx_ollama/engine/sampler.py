"""Logits to token ids: one fused computation for all rows of a kind, each with its own parameters.

Order as llama.cpp: top-k, typical-p, top-p, min-p, temperature (penalties and masks come before,
`logits.py`). A row's result depends on its logits, its parameters and its number alone, never on the
rows beside it: candidates are counted in fixed sizes, and the number comes from (seed, position).
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import mlx.core as mx

from mlx_ollama.engine.sequence import SamplingParams

CANDIDATES = (64, 1024)
"""How many tokens are looked at, by top-k; beyond the last (or without top-k) the whole vocabulary is sorted."""

_MASK = (1 << 64) - 1


def _mix(x: int) -> int:
    """The finaliser of splitmix64."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


def uniform(seed: int, position: int) -> float:
    """A number in [0, 1) that float32 holds exactly, for one token of one seed."""
    x = _mix((seed + 0x9E3779B97F4A7C15) & _MASK)
    return (_mix((x + position * 0x9E3779B97F4A7C15) & _MASK) >> 40) * 2.0**-24


def new_seed() -> int:
    return secrets.randbits(63)


@dataclass(frozen=True, kw_only=True)
class _Group:
    """Rows that share one computation. `candidates` 0: the most likely token and nothing else.

    `settings` (rows, 5): top_k, typical_p, top_p, min_p, temperature.
    """

    rows: list[int]
    candidates: int
    typical: bool
    settings: mx.array

    def sample(self, logits: mx.array, numbers: Sequence[float]) -> mx.array:
        if not self.candidates:
            return mx.argmax(logits, axis=-1).astype(mx.int32)
        number = mx.array([[numbers[i]] for i in self.rows], dtype=mx.float32)
        return _draw(self.candidates, self.typical)(logits, self.settings, number)


class Sampler:
    """The sampling of one batch; made anew when its rows change."""

    def __init__(self, rows: Sequence[SamplingParams], vocab_size: int) -> None:
        kinds: dict[tuple[int, bool], list[int]] = {}
        for i, params in enumerate(rows):
            kinds.setdefault(_kind(params, vocab_size), []).append(i)
        self._groups = [
            _Group(
                rows=members,
                candidates=candidates,
                typical=typical,
                settings=mx.array([_settings(rows[i]) for i in members], dtype=mx.float32),
            )
            for (candidates, typical), members in kinds.items()
        ]
        order = [i for group in self._groups for i in group.rows]
        places = sorted(range(len(order)), key=order.__getitem__)
        self._places = mx.array(places) if len(self._groups) > 1 else None

    def sample(self, logits: mx.array, numbers: Sequence[float]) -> mx.array:
        """(rows,) int32 token ids. `numbers`: one of `uniform` for each row."""
        if self._places is None:
            return self._groups[0].sample(logits, numbers)
        parts = [g.sample(logits[mx.array(g.rows)], numbers) for g in self._groups]
        return mx.concatenate(parts)[self._places]


def _kind(params: SamplingParams, vocab_size: int) -> tuple[int, bool]:
    """(candidates, typical) that a row needs."""
    typical = params.typical_p < 1.0
    if params.temperature <= 0 and not typical:
        return 0, False
    sizes = [n for n in CANDIDATES if n < vocab_size and 0 < params.top_k <= n]
    return (sizes[0] if sizes else vocab_size), typical


def _settings(params: SamplingParams) -> list[float]:
    """Numbers that the computation may take as they are; those over 1 switch a filter off."""
    return [
        params.top_k if params.top_k > 0 else 1e9,
        max(params.typical_p, 0.0) if params.typical_p < 1.0 else 2.0,
        params.top_p if params.top_p < 1.0 else 2.0,
        max(params.min_p, 0.0),
        max(params.temperature, 1e-6),
    ]


def _candidates(logits: mx.array, count: int) -> tuple[mx.array, mx.array]:
    """(rows, count) logits and their token ids, best first."""
    logits = logits.astype(mx.float32)
    if count >= logits.shape[-1]:
        ids = mx.argsort(-logits, axis=-1)
        return mx.take_along_axis(logits, ids, axis=-1), ids
    ids = mx.argpartition(-logits, kth=count - 1, axis=-1)[:, :count]
    values = mx.take_along_axis(logits, ids, axis=-1)
    order = mx.argsort(-values, axis=-1)
    return mx.take_along_axis(values, order, axis=-1), mx.take_along_axis(ids, order, axis=-1)


def _probabilities(logits: mx.array, keep: mx.array) -> mx.array:
    return mx.softmax(mx.where(keep, logits, -mx.inf), axis=-1)


def _before(probabilities: mx.array) -> mx.array:
    """The probability of everything that stands in front."""
    return mx.cumsum(probabilities, axis=-1) - probabilities


def _keep_typical(logits: mx.array, keep: mx.array, typical_p: mx.array) -> mx.array:
    """Those whose surprise is nearest the entropy, until `typical_p` is reached."""
    p = _probabilities(logits, keep)
    surprise = -mx.log(mx.maximum(p, 1e-38))
    entropy = (p * surprise).sum(axis=-1, keepdims=True)
    distance = mx.where(keep, mx.abs(surprise - entropy), mx.inf)
    order = mx.argsort(distance, axis=-1)
    chosen = _before(mx.take_along_axis(p, order, axis=-1)) <= typical_p
    back = mx.argsort(order, axis=-1)
    return keep & mx.take_along_axis(chosen, back, axis=-1)


def _finish(
    logits: mx.array, ids: mx.array, keep: mx.array, settings: mx.array, number: mx.array
) -> mx.array:
    """top-p, min-p, temperature, and the draw by inverse distribution."""
    top_p, min_p, temperature = settings[:, 2:3], settings[:, 3:4], settings[:, 4:5]
    p = _probabilities(logits, keep)
    top = p.max(axis=-1, keepdims=True)
    keep = keep & (((_before(p) < top_p) & (p >= min_p * top)) | (p == top))
    best = mx.where(keep, logits, -mx.inf).max(axis=-1, keepdims=True)
    final = _probabilities((logits - best) / temperature, keep)
    total = mx.cumsum(final, axis=-1)
    index = (total <= number * total[:, -1:]).sum(axis=-1, keepdims=True)
    return mx.take_along_axis(ids, index, axis=-1)[:, 0].astype(mx.int32)


def _keep_top_k(logits: mx.array, settings: mx.array) -> mx.array:
    return (mx.arange(logits.shape[-1]) < settings[:, :1]) & (logits > -mx.inf)


@cache
def _draw(count: int, typical: bool) -> Callable[[mx.array, mx.array, mx.array], mx.array]:
    """The whole computation for one kind of row: (logits, settings, number) to token ids."""

    def draw(logits: mx.array, settings: mx.array, number: mx.array) -> mx.array:
        best, ids = _candidates(logits, count)
        keep = _keep_top_k(best, settings)
        if typical:
            keep = _keep_typical(best, keep, settings[:, 1:2])
        return _finish(best, ids, keep, settings, number)

    return mx.compile(draw)
