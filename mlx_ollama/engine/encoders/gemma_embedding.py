"""EmbeddingGemma: Gemma 3's layers seen in both directions, by turns all or a window."""

from dataclasses import dataclass, field
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from mlx_ollama.engine.encoders.layers import (
    FULL,
    SLIDING,
    EncoderModel,
    FromConfig,
    full_and_sliding,
    split_heads,
)


@dataclass(kw_only=True)
class ModelArgs(FromConfig):
    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    intermediate_size: int
    head_dim: int = 256
    rms_norm_eps: float = 1e-6
    query_pre_attn_scalar: float = 256.0
    sliding_window: int = 512
    sliding_window_pattern: int = 6
    rope_theta: float = 1_000_000.0
    rope_local_base_freq: float = 10_000.0
    layer_types: list[str] = field(default_factory=list)

    def kind(self, layer: int) -> str:
        if self.layer_types:
            return self.layer_types[layer]
        return SLIDING if (layer + 1) % self.sliding_window_pattern else FULL

    def theta(self, kind: str) -> float:
        return self.rope_theta if kind == FULL else self.rope_local_base_freq


class RMSNorm(nn.Module):
    """The stored weight is the distance from one."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = mx.zeros(width)
        self.eps = eps

    def __call__(self, x: mx.array) -> mx.array:
        return mx.fast.rms_norm(x, 1.0 + self.weight, self.eps)


class Attention(nn.Module):
    def __init__(self, args: ModelArgs, kind: str) -> None:
        super().__init__()
        width, head = args.hidden_size, args.head_dim
        self.heads, self.kv_heads = args.num_attention_heads, args.num_key_value_heads
        self.scale = args.query_pre_attn_scalar**-0.5
        self.q_proj = nn.Linear(width, self.heads * head, bias=False)
        self.k_proj = nn.Linear(width, self.kv_heads * head, bias=False)
        self.v_proj = nn.Linear(width, self.kv_heads * head, bias=False)
        self.o_proj = nn.Linear(self.heads * head, width, bias=False)
        self.q_norm = RMSNorm(head, args.rms_norm_eps)
        self.k_norm = RMSNorm(head, args.rms_norm_eps)
        self.rope = nn.RoPE(head, base=args.theta(kind))

    def __call__(self, x: mx.array, mask: mx.array) -> mx.array:
        q = self.rope(self.q_norm(split_heads(self.q_proj(x), self.heads)))
        k = self.rope(self.k_norm(split_heads(self.k_proj(x), self.kv_heads)))
        v = split_heads(self.v_proj(x), self.kv_heads)
        out = mx.fast.scaled_dot_product_attention(q, k, v, scale=self.scale, mask=mask)
        return self.o_proj(out.transpose(0, 2, 1, 3).reshape(*x.shape[:2], -1))


class MLP(nn.Module):
    def __init__(self, args: ModelArgs) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(args.hidden_size, args.intermediate_size, bias=False)
        self.up_proj = nn.Linear(args.hidden_size, args.intermediate_size, bias=False)
        self.down_proj = nn.Linear(args.intermediate_size, args.hidden_size, bias=False)

    def __call__(self, x: mx.array) -> mx.array:
        return self.down_proj(nn.gelu_approx(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, args: ModelArgs, index: int) -> None:
        super().__init__()
        width, eps = args.hidden_size, args.rms_norm_eps
        self.kind = args.kind(index)
        self.self_attn = Attention(args, self.kind)
        self.mlp = MLP(args)
        self.input_layernorm = RMSNorm(width, eps)
        self.post_attention_layernorm = RMSNorm(width, eps)
        self.pre_feedforward_layernorm = RMSNorm(width, eps)
        self.post_feedforward_layernorm = RMSNorm(width, eps)

    def __call__(self, x: mx.array, mask: mx.array) -> mx.array:
        x = x + self.post_attention_layernorm(self.self_attn(self.input_layernorm(x), mask))
        return x + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(x)))


class Model(EncoderModel):
    def __init__(self, args: ModelArgs) -> None:
        super().__init__()
        self.args = args
        self.embed_tokens = nn.Embedding(args.vocab_size, args.hidden_size)
        self.layers = [Layer(args, i) for i in range(args.num_hidden_layers)]
        self.norm = RMSNorm(args.hidden_size, args.rms_norm_eps)

    def __call__(self, ids: mx.array, mask: mx.array) -> mx.array:
        x = self.embed_tokens(ids) * self.args.hidden_size**0.5
        masks = full_and_sliding(mask, self.args.sliding_window)
        for layer in self.layers:
            x = layer(x, masks[layer.kind])
        return self.norm(x)

    def sanitize(self, weights: dict[str, Any]) -> dict[str, Any]:
        """A checkpoint that carries a language model's prefix and head."""
        names = {name.removeprefix("model."): value for name, value in weights.items()}
        return {name: value for name, value in names.items() if not name.startswith("lm_head.")}
