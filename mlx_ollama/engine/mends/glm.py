"""GLM-4: half of each head is rotated (`partial_rotary_factor` 0.5); mlx-lm's class rotates all of it."""

from typing import Any

import mlx.nn as nn


def mend(module: Any) -> None:
    class Attention(module.GLMAttention):
        def __init__(self, args: Any) -> None:
            super().__init__(args)
            self.rope = nn.RoPE(self.head_dim // 2, traditional=True, base=args.rope_theta)

    module.GLMAttention = Attention
