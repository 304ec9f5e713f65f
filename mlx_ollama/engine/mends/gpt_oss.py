"""gpt-oss: its yarn scaling does not round the range of blended frequencies (`truncate: false`).

mlx-lm always rounds it outwards, which changes the logits in the third digit.
"""

from typing import Any

import mlx.core as mx
import mlx.nn as nn

from mlx_ollama.engine.mends.yarn import frequencies, magnitude


def mend(module: Any) -> None:
    original = module.initialize_rope

    def initialize_rope(dims: int, base: float, traditional: bool, **options: Any) -> nn.Module:
        scaling = options.get("scaling_config") or {}
        if scaling.get("rope_type") != "yarn" or scaling.get("truncate", True):
            return original(dims, base, traditional, **options)
        return ExactYarn(dims, base, scaling)

    module.initialize_rope = initialize_rope


class ExactYarn(nn.Module):
    def __init__(self, dims: int, base: float, scaling: dict[str, Any]) -> None:
        super().__init__()
        self.dims = dims
        self._magnitude = magnitude(scaling["factor"])
        self._periods = mx.array([1 / f for f in frequencies(dims, base, scaling)])

    def __call__(self, x: mx.array, offset: int | mx.array = 0) -> mx.array:
        """x: [B, heads, L, head_dim]."""
        return mx.fast.rope(
            x * self._magnitude,
            self.dims,
            traditional=False,
            base=None,
            scale=1.0,
            offset=offset,
            freqs=self._periods,
        )
