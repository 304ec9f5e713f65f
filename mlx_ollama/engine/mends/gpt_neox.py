"""GPT-NeoX: its GELU is the exact one; mlx-lm's class takes the tanh approximation."""

from typing import Any

import mlx.core as mx
import mlx.nn as nn


def mend(module: Any) -> None:
    def forward(self: Any, x: mx.array) -> mx.array:
        return self.dense_4h_to_h(nn.gelu(self.dense_h_to_4h(x)))

    module.MLP.__call__ = forward
