"""Qwen2.5-VL: pictures of any size; most layers see a window, some all; two by two patches merge into a token."""

from collections.abc import Mapping
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from mlx_ollama.engine.vision import names, pixels, qwen_pixels
from mlx_ollama.engine.vision.model import Features, Prepared, VisionModel
from mlx_ollama.engine.vision.qwen_family import QwenVision
from mlx_ollama.engine.vision.rotary import rotary_angles, rotate
from mlx_ollama.engine.vision.vit import GatedMLP
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


class Block(nn.Module):
    def __init__(self, vision: dict[str, Any]) -> None:
        super().__init__()
        width = vision["hidden_size"]
        self.norm1 = nn.RMSNorm(width, eps=RMS_EPS)
        self.norm2 = nn.RMSNorm(width, eps=RMS_EPS)
        self.attn = Attention(width, vision["num_heads"])
        self.mlp = GatedMLP(
            width, vision["intermediate_size"], vision.get("hidden_act", "silu"), bias=True
        )

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


class Qwen25Vision(QwenVision):
    def __init__(self, config: dict[str, Any], processor: dict[str, Any]) -> None:
        super().__init__(config, processor, DEFAULT)
        vision = config["vision_config"]
        width, frames = vision["hidden_size"], self.squares.frames
        self.patch_embed = nn.Linear(3 * frames * self.squares.patch**2, width, bias=False)
        self.blocks = [Block(vision) for _ in range(vision["depth"])]
        self.merger = Merger(width, self.squares.merge, vision["out_hidden_size"])
        self.head_width = width // vision["num_heads"]
        self.window = vision.get("window_size", 112) // self.squares.factor
        self.full = set(vision.get("fullatt_block_indexes", [7, 15, 23, 31]))

    def encode(self, prepared: Prepared) -> Features:
        merge = self.squares.merge
        positions = qwen_pixels.patch_positions(prepared.grid, merge)
        angles = rotary_angles(positions, self.head_width)
        windows = windows_of(prepared.grid, self.window, merge)
        x = self.patch_embed(self.patches(prepared, self.patch_embed.weight))
        for index, block in enumerate(self.blocks):
            x = block(x, angles, None if index in self.full else windows)
        return Features(tokens=self.merger(x))

    def sanitize(self, weights: Mapping[str, mx.array]) -> dict[str, mx.array]:
        kept = {
            k.removeprefix("visual."): v for k, v in names.of_tower(weights, ("visual.",)).items()
        }
        kernel = kept.pop("patch_embed.proj.weight")
        return {**kept, "patch_embed.weight": kernel.reshape(kernel.shape[0], -1)}


def build(config: dict[str, Any], processor: dict[str, Any]) -> VisionModel:
    return Qwen25Vision(config, processor)
