"""ERNIE 4.5: a learnt correction (`moe_statics`) takes part in the choice of experts; mlx-lm's class drops it."""

from typing import Any

import mlx.core as mx
import mlx.nn as nn

_CORRECTION = ".mlp.moe_statics.e_score_correction_bias"


class _Statics(nn.Module):
    def __init__(self, experts: int) -> None:
        super().__init__()
        self.e_score_correction_bias = mx.zeros((1, experts))


def mend(module: Any) -> None:
    class MoeMLP(module.Ernie4_5_MoeMLP):
        def __init__(self, args: Any) -> None:
            super().__init__(args)
            self.moe_statics = _Statics(args.moe_num_experts)

        def __call__(self, x: mx.array) -> mx.array:
            shares = self.gate_act(self.gate(x).astype(mx.float32))
            corrected = shares + self.moe_statics.e_score_correction_bias.reshape(-1)
            chosen = mx.argpartition(-corrected, kth=self.k - 1, axis=-1)[..., : self.k]
            weights = mx.take_along_axis(shares, chosen, axis=-1)
            weights = weights / mx.maximum(weights.sum(axis=-1, keepdims=True), 1e-12)
            y = self.switch_mlp(x, chosen)
            y = (y * weights[..., None]).sum(axis=-2).astype(x.dtype)
            return y if self.shared_experts is None else y + self.shared_experts(x)

    drop: Any = module.Model.sanitize

    def sanitize(self: Any, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        kept = {name: array for name, array in weights.items() if name.endswith(_CORRECTION)}
        return drop(self, weights) | kept

    module.Ernie4_5_MoeMLP = MoeMLP
    module.Model.sanitize = sanitize
