"""StarCoder 1: its GELU is the tanh approximation (`gelu_pytorch_tanh`); mlx-lm's class takes the exact one."""

from typing import Any

import mlx.core as mx
import mlx.nn as nn


def mend(module: Any) -> None:
    def forward(self: Any, x: mx.array) -> mx.array:
        return self.c_proj(nn.gelu_approx(self.c_fc(x)))

    module.MLP.__call__ = forward
