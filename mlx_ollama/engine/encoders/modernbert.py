"""ModernBERT: rotary positions, layers that see all or a window by turns, a norm before each half."""

from dataclasses import dataclass, field
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from mlx_ollama.engine.encoders.layers import (
    ACTIVATIONS,
    FULL,
    SLIDING,
    EncoderModel,
    FromConfig,
    attend,
    full_and_sliding,
    split_heads,
)

UNUSED = ("head.", "decoder.", "classifier.")


@dataclass(kw_only=True)
class ModelArgs(FromConfig):
    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int = 8192
    hidden_activation: str = "gelu"
    norm_eps: float = 1e-5
    norm_bias: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False
    local_attention: int = 128
    global_attn_every_n_layers: int = 3
    global_rope_theta: float = 160_000.0
    local_rope_theta: float = 10_000.0
    layer_types: list[str] = field(default_factory=list)
    rope_parameters: dict[str, Any] = field(default_factory=dict)

    def kind(self, layer: int) -> str:
        if self.layer_types:
            return self.layer_types[layer]
        return SLIDING if layer % self.global_attn_every_n_layers else FULL

    def theta(self, kind: str) -> float:
        plain = self.global_rope_theta if kind == FULL else self.local_rope_theta
        return self.rope_parameters.get(kind, {}).get("rope_theta", plain)


class Attention(nn.Module):
    def __init__(self, args: ModelArgs, kind: str) -> None:
        super().__init__()
        width, self.heads = args.hidden_size, args.num_attention_heads
        self.Wqkv = nn.Linear(width, 3 * width, bias=args.attention_bias)
        self.Wo = nn.Linear(width, width, bias=args.attention_bias)
        self.rope = nn.RoPE(width // self.heads, base=args.theta(kind))

    def __call__(self, x: mx.array, mask: mx.array) -> mx.array:
        q, k, v = (split_heads(part, self.heads) for part in mx.split(self.Wqkv(x), 3, axis=-1))
        return self.Wo(attend(self.rope(q), self.rope(k), v, mask))


class MLP(nn.Module):
    def __init__(self, args: ModelArgs) -> None:
        super().__init__()
        self.Wi = nn.Linear(args.hidden_size, 2 * args.intermediate_size, bias=args.mlp_bias)
        self.Wo = nn.Linear(args.intermediate_size, args.hidden_size, bias=args.mlp_bias)
        self.activation = ACTIVATIONS[args.hidden_activation]

    def __call__(self, x: mx.array) -> mx.array:
        value, gate = mx.split(self.Wi(x), 2, axis=-1)
        return self.Wo(self.activation(value) * gate)


def _norm(args: ModelArgs) -> nn.LayerNorm:
    return nn.LayerNorm(args.hidden_size, eps=args.norm_eps, bias=args.norm_bias)


class Layer(nn.Module):
    """The first layer's input is normalised already, by the embeddings."""

    def __init__(self, args: ModelArgs, index: int) -> None:
        super().__init__()
        self.kind = args.kind(index)
        self.attn_norm = _norm(args) if index else nn.Identity()
        self.attn = Attention(args, self.kind)
        self.mlp_norm = _norm(args)
        self.mlp = MLP(args)

    def __call__(self, x: mx.array, mask: mx.array) -> mx.array:
        x = x + self.attn(self.attn_norm(x), mask)
        return x + self.mlp(self.mlp_norm(x))


class Embeddings(nn.Module):
    def __init__(self, args: ModelArgs) -> None:
        super().__init__()
        self.tok_embeddings = nn.Embedding(args.vocab_size, args.hidden_size)
        self.norm = _norm(args)

    def __call__(self, ids: mx.array) -> mx.array:
        return self.norm(self.tok_embeddings(ids))


class Model(EncoderModel):
    def __init__(self, args: ModelArgs) -> None:
        super().__init__()
        self.args = args
        self.embeddings = Embeddings(args)
        self.layers = [Layer(args, i) for i in range(args.num_hidden_layers)]
        self.final_norm = _norm(args)

    def __call__(self, ids: mx.array, mask: mx.array) -> mx.array:
        x = self.embeddings(ids)
        masks = full_and_sliding(mask, self.args.local_attention)
        for layer in self.layers:
            x = layer(x, masks[layer.kind])
        return self.final_norm(x)

    def sanitize(self, weights: dict[str, Any]) -> dict[str, Any]:
        """Drop the heads of pre-training and the prefix that they bring."""
        names = {name.removeprefix("model."): value for name, value in weights.items()}
        return {name: value for name, value in names.items() if not name.startswith(UNUSED)}
