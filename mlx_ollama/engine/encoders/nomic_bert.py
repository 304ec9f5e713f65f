"""Nomic BERT: rotary positions, a gated feed-forward, a norm after each half of a layer."""

import re
from dataclasses import dataclass, field
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from mlx_ollama.engine.encoders.layers import (
    ACTIVATIONS,
    EncoderModel,
    FromConfig,
    attend,
    split_heads,
)

DEFAULT_THETA = 1000.0
UNUSED = ("pooler.", "cls.")
# Names in the checkpoints of the model's authors, to those of transformers 5.
RENAMED = (
    (r"^(nomic_bert|bert)\.", ""),
    (r"^encoder\.layers", "layers"),
    (r"^emb_ln", "embeddings.LayerNorm"),
    (r"attn\.out_proj", "self_attn.o_proj"),
    (r"mlp\.fc11", "mlp.up_proj"),
    (r"mlp\.fc12", "mlp.gate_proj"),
    (r"mlp\.fc2", "mlp.down_proj"),
    (r"\.norm1\.", ".post_attention_layernorm."),
    (r"\.norm2\.", ".post_mlp_layernorm."),
)
FUSED = ".attn.Wqkv.weight"


@dataclass(kw_only=True)
class ModelArgs(FromConfig):
    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int = 2048
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    hidden_act: str = "silu"
    rope_theta: float | None = None
    rotary_emb_base: float = DEFAULT_THETA
    rope_parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def theta(self) -> float:
        return self.rope_theta or self.rope_parameters.get("rope_theta", self.rotary_emb_base)


class Embeddings(nn.Module):
    def __init__(self, args: ModelArgs) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(args.vocab_size, args.hidden_size)
        self.token_type_embeddings = nn.Embedding(args.type_vocab_size, args.hidden_size)
        self.LayerNorm = nn.LayerNorm(args.hidden_size, eps=args.layer_norm_eps)

    def __call__(self, ids: mx.array) -> mx.array:
        first_type = self.token_type_embeddings(mx.zeros(1, dtype=mx.int32))
        return self.LayerNorm(self.word_embeddings(ids) + first_type)


class Attention(nn.Module):
    def __init__(self, args: ModelArgs) -> None:
        super().__init__()
        width, self.heads = args.hidden_size, args.num_attention_heads
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)
        self.rope = nn.RoPE(width // self.heads, base=args.theta)

    def __call__(self, x: mx.array, mask: mx.array) -> mx.array:
        q, k, v = (split_heads(f(x), self.heads) for f in (self.q_proj, self.k_proj, self.v_proj))
        return self.o_proj(attend(self.rope(q), self.rope(k), v, mask))


class MLP(nn.Module):
    def __init__(self, args: ModelArgs) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(args.hidden_size, args.intermediate_size, bias=False)
        self.up_proj = nn.Linear(args.hidden_size, args.intermediate_size, bias=False)
        self.down_proj = nn.Linear(args.intermediate_size, args.hidden_size, bias=False)
        self.activation = ACTIVATIONS[args.hidden_act]

    def __call__(self, x: mx.array) -> mx.array:
        return self.down_proj(self.activation(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, args: ModelArgs) -> None:
        super().__init__()
        self.self_attn = Attention(args)
        self.mlp = MLP(args)
        self.post_attention_layernorm = nn.LayerNorm(args.hidden_size, eps=args.layer_norm_eps)
        self.post_mlp_layernorm = nn.LayerNorm(args.hidden_size, eps=args.layer_norm_eps)

    def __call__(self, x: mx.array, mask: mx.array) -> mx.array:
        x = self.post_attention_layernorm(x + self.self_attn(x, mask))
        return self.post_mlp_layernorm(x + self.mlp(x))


class Model(EncoderModel):
    def __init__(self, args: ModelArgs) -> None:
        super().__init__()
        self.args = args
        self.embeddings = Embeddings(args)
        self.layers = [Layer(args) for _ in range(args.num_hidden_layers)]

    def __call__(self, ids: mx.array, mask: mx.array) -> mx.array:
        x = self.embeddings(ids)
        mask = mask[:, None, None, :]
        for layer in self.layers:
            x = layer(x, mask)
        return x

    def sanitize(self, weights: dict[str, Any]) -> dict[str, Any]:
        """The authors' names to transformers'; their fused projection in three."""
        renamed: dict[str, Any] = {}
        for name, value in weights.items():
            for pattern, replacement in RENAMED:
                name = re.sub(pattern, replacement, name)
            if name.endswith(FUSED):
                stem = name.removesuffix(FUSED)
                for part, piece in zip("qkv", mx.split(value, 3, axis=0), strict=True):
                    renamed[f"{stem}.self_attn.{part}_proj.weight"] = piece
            elif not name.startswith(UNUSED):
                renamed[name] = value
        return renamed
