"""The plain vision transformer that SigLIP and CLIP share: a norm before each half of a layer, full attention."""

from dataclasses import dataclass

import mlx.core as mx
import mlx.nn as nn

from mlx_ollama.engine.encoders.layers import ACTIVATIONS, FromConfig, split_heads


@dataclass(kw_only=True)
class ViTArgs(FromConfig):
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    image_size: int
    patch_size: int
    layer_norm_eps: float = 1e-6
    hidden_act: str = "gelu_pytorch_tanh"
    num_channels: int = 3

    @property
    def side(self) -> int:
        """Patches along one side of a picture of the trained size."""
        return self.image_size // self.patch_size


class PatchEmbedding(nn.Module):
    """A convolution whose stride is its size, as a matrix product; the weight keeps PyTorch's layout."""

    def __init__(self, args: ViTArgs, bias: bool) -> None:
        super().__init__()
        size = args.patch_size
        self.weight = mx.zeros((args.hidden_size, args.num_channels, size, size))
        if bias:
            self.bias = mx.zeros(args.hidden_size)

    def __call__(self, patches: mx.array) -> mx.array:
        out = patches.astype(self.weight.dtype) @ self.weight.reshape(self.weight.shape[0], -1).T
        return out + self.bias if "bias" in self else out


class Attention(nn.Module):
    def __init__(self, args: ViTArgs) -> None:
        super().__init__()
        self.heads, width = args.num_attention_heads, args.hidden_size
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def __call__(self, x: mx.array, mask: mx.array | None) -> mx.array:
        q, k, v = (split_heads(f(x), self.heads) for f in (self.q_proj, self.k_proj, self.v_proj))
        out = mx.fast.scaled_dot_product_attention(q, k, v, scale=q.shape[-1] ** -0.5, mask=mask)
        return self.out_proj(out.transpose(0, 2, 1, 3).reshape(x.shape))


class MLP(nn.Module):
    def __init__(self, args: ViTArgs) -> None:
        super().__init__()
        self.fc1 = nn.Linear(args.hidden_size, args.intermediate_size)
        self.fc2 = nn.Linear(args.intermediate_size, args.hidden_size)
        self.activation = ACTIVATIONS[args.hidden_act]

    def __call__(self, x: mx.array) -> mx.array:
        return self.fc2(self.activation(self.fc1(x)))


class GatedMLP(nn.Module):
    """The feed-forward of the towers that look like language models."""

    def __init__(self, width: int, inner: int, activation: str, *, bias: bool) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, inner, bias=bias)
        self.up_proj = nn.Linear(width, inner, bias=bias)
        self.down_proj = nn.Linear(inner, width, bias=bias)
        self.activation = ACTIVATIONS[activation]

    def __call__(self, x: mx.array) -> mx.array:
        return self.down_proj(self.activation(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, args: ViTArgs) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(args.hidden_size, eps=args.layer_norm_eps)
        self.self_attn = Attention(args)
        self.layer_norm2 = nn.LayerNorm(args.hidden_size, eps=args.layer_norm_eps)
        self.mlp = MLP(args)

    def __call__(self, x: mx.array, mask: mx.array | None = None) -> mx.array:
        x = x + self.self_attn(self.layer_norm1(x), mask)
        return x + self.mlp(self.layer_norm2(x))


class Encoder(nn.Module):
    def __init__(self, args: ViTArgs) -> None:
        super().__init__()
        self.layers = [Layer(args) for _ in range(args.num_hidden_layers)]

    def __call__(self, x: mx.array, mask: mx.array | None = None) -> mx.array:
        for layer in self.layers:
            x = layer(x, mask)
        return x
