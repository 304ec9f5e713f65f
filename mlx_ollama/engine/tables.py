"""Which of two rotary tables a row computes with, where a model has two (Phi 3 and 4, `mends/phi3.py`).

By its window, as llama.cpp decides: a row keeps one table for all its life, whatever the chunks it is fed in.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import mlx.core as mx
import mlx.nn as nn


class Tables:
    """One for each loaded model; does nothing for most."""

    def __init__(self, model: nn.Module) -> None:
        ropes = (m for _, m in model.named_modules() if hasattr(type(m), "is_long"))
        rope: Any = next(ropes, None)
        self._kind: Any = None if rope is None else type(rope)
        self._limit: int = 0 if rope is None else rope.original_max_position_embeddings

    def is_long(self, num_ctx: int) -> bool:
        """Whether a window needs the table for long contexts."""
        return self._kind is not None and num_ctx > self._limit

    @contextmanager
    def chosen(self, windows: Sequence[int]) -> Generator[None]:
        """While a graph is built: each row's table, by its `num_ctx`."""
        if self._kind is None:
            yield
            return
        flags = [self.is_long(num_ctx) for num_ctx in windows]
        self._kind.is_long = flags[0] if len(set(flags)) == 1 else mx.array(flags)
        try:
            yield
        finally:
            self._kind.is_long = None
