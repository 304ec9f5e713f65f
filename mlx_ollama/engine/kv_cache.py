"""A row's live state over all layers: mlx-lm's cache kinds behind one interface."""

from typing import Any

import mlx.core as mx
import mlx.nn as nn

from mlx_ollama.engine import mlx_models

STEP = 256
"""Tokens by which a key-value buffer grows; MLX reuses only buffers of similar size."""


def _flat(layers: list[Any]) -> list[Any]:
    """Caches without the lists that some models keep them in."""
    flat: list[Any] = []
    for layer in layers:
        flat.extend(_flat(list(layer.caches)) if hasattr(layer, "caches") else [layer])
    return flat


def _is_plain(cache: Any) -> bool:
    """Whether any prefix of it can be had by forgetting the rest."""
    return type(cache) is mlx_models.cache_classes.KVCache


class RowCache:
    """One sequence's caches. `length`: tokens fed."""

    def __init__(self, model: nn.Module) -> None:
        self.layers = mlx_models.new_caches(model)
        self.length = 0
        self._members = _flat(self.layers)

    @property
    def is_plain(self) -> bool:
        return all(_is_plain(cache) for cache in self._members)

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.arrays())

    def arrays(self) -> list[mx.array]:
        """Everything that must be computed for the state to be there."""
        found: list[mx.array] = []
        for cache in self._members:
            candidates = cache.cache if hasattr(cache, "cache") else (cache.keys, cache.values)
            found.extend(array for array in candidates if array is not None)
        return found

    def reserve(self, tokens: int) -> None:
        """Make the first buffers large enough for a prompt, so that chunks do not copy them."""
        for cache in self._members:
            if _is_plain(cache) and cache.keys is None:
                cache.step = -(-tokens // STEP) * STEP

    def settle(self) -> None:
        """From now on grow by the ordinary step."""
        for cache in self._members:
            if _is_plain(cache):
                cache.step = STEP

    def trim(self, length: int) -> None:
        """Forget everything after `length` tokens; only when `is_plain`."""
        for cache in self._members:
            cache.trim(self.length - length)
        self.length = length
