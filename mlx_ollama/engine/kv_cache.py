"""A row's live state over all layers: mlx-lm's cache kinds behind one interface."""

from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten, tree_map

from mlx_ollama.engine import mlx_models

STEP = 64
"""Key-value buffers hold multiples of so many tokens."""

MAX_GROWTH = 256
"""Tokens by which a long answer's buffer grows: growing copies all of it."""


def _flat(layers: list[Any]) -> list[Any]:
    """Caches without the lists that some models keep them in."""
    flat: list[Any] = []
    for layer in layers:
        flat.extend(_flat(list(layer.caches)) if hasattr(layer, "caches") else [layer])
    return flat


def _is_plain(cache: Any) -> bool:
    """Whether any prefix of it can be had by forgetting the rest."""
    return type(cache) is mlx_models.cache_classes.KVCache


def _copied(array: mx.array) -> mx.array:
    """A buffer of its own. (A slice shares its source's, which then can no longer be written in place.)"""
    return array * mx.array(1, array.dtype)


def _own(state: Any) -> Any:
    """A cache's state with copies of its arrays; caches change theirs in place."""
    return tree_map(lambda leaf: _copied(leaf) if isinstance(leaf, mx.array) else leaf, state)


def _leaves(state: Any) -> list[mx.array]:
    flat: Any = tree_flatten(state)
    return [leaf for _, leaf in flat if isinstance(leaf, mx.array)]


@dataclass(frozen=True)
class Segment:
    """Keys and values between two positions, a pair a plain layer."""

    pairs: list[tuple[mx.array, mx.array]]

    @property
    def nbytes(self) -> int:
        return sum(keys.nbytes + values.nbytes for keys, values in self.pairs)

    def after(self, skip: int) -> "Segment":
        """A copy without the first `skip` tokens."""
        return _segment([(k[..., skip:, :], v[..., skip:, :]) for k, v in self.pairs])


def _segment(pairs: list[tuple[mx.array, mx.array]]) -> Segment:
    copied = [(_copied(keys), _copied(values)) for keys, values in pairs]
    mx.eval(copied)
    return Segment(copied)


@dataclass(frozen=True)
class Snapshot:
    """What the layers that cannot be cut held at one position."""

    states: list[Any]

    @property
    def nbytes(self) -> int:
        return sum(leaf.nbytes for leaf in _leaves(self.states))


class RowCache:
    """One sequence's caches. `length`: tokens fed."""

    def __init__(self, model: nn.Module) -> None:
        self.layers = mlx_models.new_caches(model)
        self.length = 0
        members = _flat(self.layers)
        self._plain = [cache for cache in members if _is_plain(cache)]
        self._others = [cache for cache in members if not _is_plain(cache)]
        self._model = model

    @property
    def is_plain(self) -> bool:
        """Whether it can be cut at any position."""
        return not self._others

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.arrays())

    def arrays(self) -> list[mx.array]:
        """Everything that must be computed for the state to be there."""
        held = [(c.keys, c.values) for c in self._plain]
        return _leaves(held) + _leaves([cache.state for cache in self._others])

    def bytes_for(self, tokens: int) -> int:
        """What a row of so many tokens holds; asked of a row that has been fed."""
        plain = sum(_bytes_a_token(c) for c in self._plain) * _rounded(tokens)
        windows = [c for c in self._others if hasattr(c, "max_size")]
        rotating = sum(_bytes_a_token(c) * min(tokens + STEP, c.max_size) for c in windows)
        fixed = sum(c.nbytes for c in self._others if not hasattr(c, "max_size"))
        return plain + rotating + fixed

    def reserve(self, tokens: int) -> None:
        """Let the next growth reach `tokens`, so that the chunks of a prompt do not copy it again and again."""
        for cache in self._plain:
            cache.step = _rounded(tokens - self.length)

    def settle(self, tokens: int) -> None:
        """From now on grow for an answer of at most `tokens`, and by no more than a quarter at once."""
        for cache in self._plain:
            cache.step = min(_rounded(tokens), _rounded(self.length // 4), MAX_GROWTH)

    # ---- what the prefix cache does with it

    def trim(self, length: int) -> None:
        """Forget what the plain layers hold after `length` tokens."""
        for cache in self._plain:
            cache.trim(self.length - length)
        self.length = length

    def cut(self, length: int) -> Segment:
        """Keep `length` tokens in the plain layers; a copy of the rest."""
        end = self.length
        rest = [(c.keys[..., length:end, :], c.values[..., length:end, :]) for c in self._plain]
        segment = _segment(rest)
        self.trim(length)
        return segment

    def copy(self, length: int) -> "RowCache":
        """An independent state of the plain layers' first `length` tokens, with room for a step more."""
        other = RowCache(self._model)
        for mine, its in zip(self._plain, other._plain, strict=True):
            its.keys, its.values = _roomy(mine.keys, length), _roomy(mine.values, length)
            its.offset = length
        other.length = length
        mx.eval(other.arrays())
        return other

    def extend(self, segment: Segment, tokens: int) -> None:
        """Append a segment's first `tokens` to the plain layers."""
        for cache, (keys, values) in zip(self._plain, segment.pairs, strict=True):
            cache.update_and_fetch(keys[..., :tokens, :], values[..., :tokens, :])
        self.length += tokens
        mx.eval(self.arrays())

    def snapshot(self) -> Snapshot:
        """A copy of what the other layers hold now."""
        states = [_own(cache.state) for cache in self._others]
        mx.eval(_leaves(states))
        return Snapshot(states)

    def take_snapshot(self) -> Snapshot:
        """The same without a copy: those layers are restored before they are used again."""
        return Snapshot([cache.state for cache in self._others])

    def restore(self, snapshot: Snapshot) -> None:
        """Put a copy of a snapshot into the other layers."""
        for cache, state in zip(self._others, snapshot.states, strict=True):
            cache.state = _own(state)
        mx.eval(self.arrays())


def _roomy(array: mx.array, length: int) -> mx.array:
    batch, heads, _, width = array.shape
    room = mx.zeros((batch, heads, STEP + -length % STEP, width), dtype=array.dtype)
    return mx.concatenate([array[..., :length, :], room], axis=2)


def _rounded(tokens: int) -> int:
    return max(1, -(-tokens // STEP)) * STEP


def _bytes_a_token(cache: Any) -> int:
    return (cache.keys.nbytes + cache.values.nbytes) // cache.keys.shape[2]
