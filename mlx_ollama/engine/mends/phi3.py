"""Phi 3 and 4: longrope's short table serves contexts up to the trained length, the long one those beyond.

mlx-lm's class always takes the long table, which is wrong for every prompt of ordinary length. Which table holds
is decided by where the newest token of a step stands, as transformers does, unless `engine/tables.py` has said it:
a prompt that is fed in chunks must not begin with one table and go on with the other.
"""

from typing import Any

import mlx.core as mx


def mend(module: Any) -> None:
    plain = module.SuScaledRoPE

    class TwoTables(plain):
        is_long: bool | mx.array | None = None  # one for each row, or for all

        def __init__(self, dims: int, **options: Any) -> None:
            super().__init__(dims, **options)
            short = mx.array(options["short_factor"], mx.float32)
            long = mx.array(options["long_factor"], mx.float32)
            self._long_freqs = self._freqs
            self._short_freqs = self._freqs / long * short

        def __call__(self, x: mx.array, offset: int | mx.array = 0) -> mx.array:
            """x: [B, heads, L, head_dim]."""
            is_long = type(self).is_long
            if is_long is None:
                is_long = offset + x.shape[2] > self.original_max_position_embeddings
            if not isinstance(is_long, mx.array):
                return self._rotate(x, offset, is_long)
            is_long = is_long.reshape(-1, 1, 1, 1)
            return mx.where(is_long, self._rotate(x, offset, True), self._rotate(x, offset, False))

        def _rotate(self, x: mx.array, offset: int | mx.array, is_long: bool) -> mx.array:
            scaled = mx.concatenate([x[..., : self.dim] * self._scale, x[..., self.dim :]], axis=-1)
            return mx.fast.rope(
                scaled,
                self.dim,
                traditional=False,
                base=None,
                scale=1.0,
                offset=offset,
                freqs=self._long_freqs if is_long else self._short_freqs,
            )

    module.SuScaledRoPE = TwoTables
