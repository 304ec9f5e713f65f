"""Qwen2.5-VL: pictures of any size; most layers see a window, some all; two by two patches merge into a token."""

from collections.abc import Mapping, Sequence
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from PIL import Image

from mlx_ollama.engine.encoders.layers import ACTIVATIONS
from mlx_ollama.engine.vision import names, pixels, qwen_pixels
from mlx_ollama.engine.vision.model import Features, Prepared, TokenText, VisionModel
from mlx_ollama.engine.vision.rotary import rotary_angles, rotate
from mlx_ollama.engine.vision.steering import Steering, use_multi_rope
from mlx_ollama.engine.vision.windows import Windows, windows_of

RMS_EPS = 1e-6
DEFAULT = qwen_pixels.Squares(
    patch=14,
    merge=2,
    frames=2,
    min_pixels=56 * 56,
    max_pixels=14 * 14 * 4 * 1280,
    mean=pixels.CLIP_MEAN,
    std=pixels.CLIP_STD,
)


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def __call__(self, x: mx.array, angles: mx.array, windows: Windows | None) -> mx.array:
        q, k, v = self.qkv(x).reshape(len(x), 3, self.heads, -1).transpose(1, 0, 2, 3)
        q, k = rotate(q, angles), rotate(k, angles)
        scale = q.shape[-1] ** -0.5
        if windows is not None:
            return self.proj(windows.attend(q, k, v, scale).reshape(x.shape))
        q, k, v = (part.transpose(1, 0, 2)[None] for part in (q, k, v))
        out = mx.fast.scaled_dot_product_attention(q, k, v, scale=scale)
        return self.proj(out[0].transpose(1, 0, 2).reshape(x.shape))


class MLP(nn.Module):
    def __init__(self, width: int, inner: int, activation: str) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, inner)
        self.up_proj = nn.Linear(width, inner)
        self.down_proj = nn.Linear(inner, width)
        self.activation = ACTIVATIONS[activation]

    def __call__(self, x: mx.array) -> mx.array:
        return self.down_proj(self.activation(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    def __init__(self, vision: dict[str, Any]) -> None:
        super().__init__()
        width = vision["hidden_size"]
        self.norm1 = nn.RMSNorm(width, eps=RMS_EPS)
        self.norm2 = nn.RMSNorm(width, eps=RMS_EPS)
        self.attn = Attention(width, vision["num_heads"])
        self.mlp = MLP(width, vision["intermediate_size"], vision.get("hidden_act", "silu"))

    def __call__(self, x: mx.array, angles: mx.array, windows: Windows | None) -> mx.array:
        x = x + self.attn(self.norm1(x), angles, windows)
        return x + self.mlp(self.norm2(x))


class Merger(nn.Module):
    """The patches of a square, side by side, through two layers."""

    def __init__(self, width: int, merge: int, text_width: int) -> None:
        super().__init__()
        self.inner = width * merge * merge
        self.ln_q = nn.RMSNorm(width, eps=RMS_EPS)
        self.mlp = [nn.Linear(self.inner, self.inner), nn.GELU(), nn.Linear(self.inner, text_width)]

    def __call__(self, x: mx.array) -> mx.array:
        x = self.ln_q(x).reshape(-1, self.inner)
        for layer in self.mlp:
            x = layer(x)
        return x


class Qwen25Vision(VisionModel):
    def __init__(self, config: dict[str, Any], processor: dict[str, Any]) -> None:
        super().__init__()
        vision = config["vision_config"]
        self.squares = qwen_pixels.squares(vision, processor, DEFAULT)
        width, frames = vision["hidden_size"], self.squares.frames
        self.patch_embed = nn.Linear(3 * frames * self.squares.patch**2, width, bias=False)
        self.blocks = [Block(vision) for _ in range(vision["depth"])]
        self.merger = Merger(width, self.squares.merge, vision["out_hidden_size"])
        self.head_width = width // vision["num_heads"]
        self.window = vision.get("window_size", 112) // self.squares.factor
        self.full = set(vision.get("fullatt_block_indexes", [7, 15, 23, 31]))
        self.image_token = config.get("image_token_id", 151655)
        self.begin = config.get("vision_start_token_id", 151652)
        self.end = config.get("vision_end_token_id", 151653)

    def prepare(self, image: Image.Image) -> Prepared:
        return self.squares.prepare(image)

    def encode(self, prepared: Prepared) -> Features:
        merge = self.squares.merge
        positions = qwen_pixels.patch_positions(prepared.grid, merge)
        angles = rotary_angles(positions, self.head_width)
        windows = windows_of(prepared.grid, self.window, merge)
        x = self.patch_embed(mx.array(prepared.pixels).astype(self.patch_embed.weight.dtype))
        for index, block in enumerate(self.blocks):
            x = block(x, angles, None if index in self.full else windows)
        return Features(tokens=self.merger(x))

    def marker(self, text: TokenText) -> str:
        return f"{text(self.begin)}{text(self.image_token)}{text(self.end)}"

    def expansion(self, prepared: Prepared, text: TokenText) -> str:
        return f"{text(self.begin)}{super().expansion(prepared, text)}{text(self.end)}"

    def positions(
        self, ids: Sequence[int], images: Sequence[Prepared]
    ) -> tuple[np.ndarray[Any, Any], int]:
        return qwen_pixels.rope_positions(tuple(ids), self.image_token, list(images))

    def steer(self, text: nn.Module, steering: Steering, config: dict[str, Any]) -> None:
        use_multi_rope(text, steering, config)

    def sanitize(self, weights: Mapping[str, mx.array]) -> dict[str, mx.array]:
        kept = {
            k.removeprefix("visual."): v for k, v in names.of_tower(weights, ("visual.",)).items()
        }
        kernel = kept.pop("patch_embed.proj.weight")
        return {**kept, "patch_embed.weight": kernel.reshape(kernel.shape[0], -1)}


def build(config: dict[str, Any], processor: dict[str, Any]) -> VisionModel:
    return Qwen25Vision(config, processor)
