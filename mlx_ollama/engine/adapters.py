"""LoRA adapters, applied beside the weights: merged into quantised ones they would be quantised again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_unflatten

MAX_RANK = 1024


class InvalidAdapter(ValueError):
    """An adapter that does not fit its model; its text says where."""


@dataclass(frozen=True, kw_only=True)
class LowRank:
    """What is added to one linear layer: `scale * up @ down`, (out, rank) @ (rank, in)."""

    down: mx.array
    up: mx.array
    scale: float


def low_rank(down: Any, up: Any, scale: float) -> LowRank:
    """From numpy arrays."""
    return LowRank(down=mx.array(down), up=mx.array(up), scale=scale)


class AdaptedLinear(nn.Module):
    """A linear layer, dense or packed, and what its adapter adds."""

    def __init__(self, base: nn.Module, part: LowRank, dtype: mx.Dtype) -> None:
        super().__init__()
        self.base = base
        self.down = part.down.T.astype(dtype)
        self.up = (part.scale * part.up.T).astype(dtype)

    def __call__(self, x: mx.array) -> mx.array:
        added = (x @ self.down) @ self.up
        return self.base(x) + added.astype(x.dtype)


def adapt(model: nn.Module, adapter: Mapping[str, LowRank], dtype: mx.Dtype) -> None:
    """Put every part at its layer (by module path). Raises InvalidAdapter, before anything is changed."""
    modules = dict(model.named_modules())
    adapted: list[tuple[str, Any]] = []
    for path, part in adapter.items():
        module = modules.get(path)
        if not isinstance(module, nn.Linear | nn.QuantizedLinear):
            raise InvalidAdapter(
                f'the adapter changes "{path}", which is no linear layer of the model'
            )
        _check(path, module, part)
        adapted.append((path, AdaptedLinear(module, part, dtype)))
    tree: Any = tree_unflatten(adapted)
    model.update_modules(tree)
    mx.eval(model.parameters())


def _check(path: str, module: nn.Linear | nn.QuantizedLinear, part: LowRank) -> None:
    outputs, inputs = module.weight.shape
    if isinstance(module, nn.QuantizedLinear):
        inputs = inputs * 32 // module.bits
    if part.down.ndim != 2 or part.up.ndim != 2 or not 0 < part.down.shape[0] <= MAX_RANK:
        raise InvalidAdapter(f'the adapter\'s "{path}" is not of low rank')
    rank = part.down.shape[0]
    if part.down.shape != (rank, inputs) or part.up.shape != (outputs, rank):
        raise InvalidAdapter(f"the adapter's \"{path}\" has another shape than the model's")
