"""Weights on disk, or a conversion's stream, to a model that can run."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn


class LoadError(Exception):
    """The model cannot be loaded; its text is what the client reads."""


@dataclass(kw_only=True)
class LoadedModel:
    """`context_length` is what the model was trained for (0: unknown). `batchable`: several rows give what
    each gives alone; otherwise the engine runs one row. `bytes` are the weights in memory."""

    model: nn.Module
    config: dict[str, Any]
    vocab_size: int
    context_length: int
    cache_kinds: tuple[str, ...]
    bytes: int
    batchable: bool
    dtype: mx.Dtype


def load_directory(path: Path, *, dense: bool | None = None) -> LoadedModel:
    """An MLX directory (config.json, *.safetensors). `dense`: dequantise at load; None: on the CPU
    when it fits in memory. Raises LoadError."""
    raise NotImplementedError


def load_tensors(
    tensors: Mapping[str, Path], files: Mapping[str, Path], *, dense: bool | None = None
) -> LoadedModel:
    """Ollama's MLX layout: a safetensors file per tensor (or expert group), `files` by file name."""
    raise NotImplementedError


def load_stream(
    config: dict[str, Any],
    tensors: Iterable[tuple[str, mx.array]],
    *,
    dense: bool | None = None,
) -> LoadedModel:
    """A conversion's tensors, in MLX directory naming, straight into a model (the live sink)."""
    raise NotImplementedError
