"""Gemma 2: every other layer, beginning with the first, sees only `sliding_window` tokens.

mlx-lm's class lets all layers see everything, which shows as soon as a prompt is longer than the window
(4096). Its attention caps the scores, so it is its own; here it also runs over rows side by side.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import mlx.core as mx

from mlx_ollama.engine.rows import RowArrays, RowMasks


def is_sliding(layer: int) -> bool:
    return layer % 2 == 0


def mend(module: Any) -> None:
    @dataclass
    class ModelArgs(module.ModelArgs):
        sliding_window: int = 4096

    create_mask = module.create_attention_mask
    caches = import_module(".cache", module.__package__)

    def forward(self: Any, inputs: mx.array, cache: Any = None) -> mx.array:
        """GemmaModel: a mask for each kind of layer."""
        h = self.embed_tokens(inputs) * (self.args.hidden_size**0.5)
        layers = cache or [None] * len(self.layers)
        window = self.args.sliding_window
        masks = [create_mask(h, layers[0], window_size=window, return_array=True)]
        masks.append(create_mask(h, layers[min(1, len(layers) - 1)], return_array=True))
        for i, (layer, layer_cache) in enumerate(zip(self.layers, layers, strict=True)):
            h = layer(h, masks[i % 2], layer_cache)
        return self.norm(h)

    def make_cache(self: Any) -> list[Any]:
        window = self.args.sliding_window
        return [
            caches.RotatingKVCache(max_size=window) if is_sliding(i) else caches.KVCache()
            for i in range(len(self.layers))
        ]

    module.ModelArgs = ModelArgs
    module.GemmaModel.__call__ = forward
    module.Attention.__call__ = _attention
    module.Model.make_cache = make_cache


def _attention(self: Any, x: mx.array, mask: Any = None, cache: Any = None) -> mx.array:
    batch, length, _ = x.shape
    queries, keys, values = (
        projection(x).reshape(batch, length, heads, -1).transpose(0, 2, 1, 3)
        for projection, heads in (
            (self.q_proj, self.n_heads),
            (self.k_proj, self.n_kv_heads),
            (self.v_proj, self.n_kv_heads),
        )
    )
    offset = 0 if cache is None else cache.offset
    queries, keys = self.rope(queries, offset=offset), self.rope(keys, offset=offset)
    if cache is not None:
        keys, values = cache.update_and_fetch(keys, values)
    out = _over_rows(queries * self.scale, keys, values, mask, self.attn_logit_softcapping)
    return self.o_proj(out.transpose(0, 2, 1, 3).reshape(batch, length, -1))


def _over_rows(queries: mx.array, keys: Any, values: Any, mask: Any, cap: float) -> mx.array:
    if not isinstance(keys, RowArrays):
        return _capped(queries, keys, values, mask, cap)
    rows = [
        _capped(
            queries[i : i + 1],
            keys[i],
            values[i],
            mask[i] if isinstance(mask, RowMasks) else mask,
            cap,
        )
        for i in range(len(keys))
    ]
    return mx.concatenate(rows)


def _capped(queries: mx.array, keys: mx.array, values: mx.array, mask: Any, cap: float) -> mx.array:
    """Attention of [B, H, L, D] queries, scores in (-cap, cap); H is a multiple of the keys' heads."""
    batch, heads, length, width = queries.shape
    grouped = queries.reshape(batch, keys.shape[1], -1, length, width)
    scores = grouped @ keys[:, :, None].swapaxes(-1, -2)
    scores = mx.tanh(scores / cap) * cap
    if mask is not None:
        scores = mx.where(mask, scores, mx.array(mx.finfo(scores.dtype).min, scores.dtype))
    out = mx.softmax(scores, precise=True, axis=-1) @ values[:, :, None]
    return out.reshape(batch, heads, length, width)
