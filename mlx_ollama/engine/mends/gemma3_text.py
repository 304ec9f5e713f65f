"""Gemma 3: embeddings are scaled by the square root of their width, which mlx-lm's class rounds to bfloat16.

Right for a bfloat16 model, wrong by up to 0.2 % in float32, where the other references do not round.
"""

from typing import Any

import mlx.core as mx


def mend(module: Any) -> None:
    original = module.Gemma3Model.__call__

    def forward(
        self: Any, inputs: mx.array, cache: Any = None, input_embeddings: mx.array | None = None
    ) -> mx.array:
        if input_embeddings is None:
            embedded = self.embed_tokens(inputs)
            if embedded.dtype == mx.float32:
                exact = self.args.hidden_size**0.5
                rounded = mx.array(exact, mx.bfloat16).astype(mx.float32)
                input_embeddings = embedded * (exact / rounded)
        return original(self, inputs, cache, input_embeddings)

    module.Gemma3Model.__call__ = forward
