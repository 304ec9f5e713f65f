"""Qwen3-VL: learned positions stretched to the picture, full attention, features for the first text layers too."""

from collections.abc import Mapping
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from mlx_ollama.engine.encoders.layers import ACTIVATIONS
from mlx_ollama.engine.vision import names, pixels, qwen_pixels
from mlx_ollama.engine.vision.model import Features, Prepared, VisionModel
from mlx_ollama.engine.vision.qwen2_5_vl import Attention
from mlx_ollama.engine.vision.qwen_family import QwenVision
from mlx_ollama.engine.vision.rotary import rotary_angles
from mlx_ollama.engine.vision.steering import Steering, use_deep_features

NORM_EPS = 1e-6
DEFAULT = qwen_pixels.Squares(
    patch=16,
    merge=2,
    frames=2,
    min_pixels=256 * 256,
    max_pixels=4096 * 4096,
    mean=pixels.HALF,
    std=pixels.HALF,
)


class MLP(nn.Module):
    def __init__(self, width: int, inner: int, activation: str) -> None:
        super().__init__()
        self.linear_fc1 = nn.Linear(width, inner)
        self.linear_fc2 = nn.Linear(inner, width)
        self.activation = ACTIVATIONS[activation]

    def __call__(self, x: mx.array) -> mx.array:
        return self.linear_fc2(self.activation(self.linear_fc1(x)))


class Block(nn.Module):
    def __init__(self, vision: dict[str, Any]) -> None:
        super().__init__()
        width = vision["hidden_size"]
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS)
        self.attn = Attention(width, vision["num_heads"])
        activation = vision.get("hidden_act", "gelu_pytorch_tanh")
        self.mlp = MLP(width, vision["intermediate_size"], activation)

    def __call__(self, x: mx.array, angles: mx.array) -> mx.array:
        x = x + self.attn(self.norm1(x), angles, None)
        return x + self.mlp(self.norm2(x))


class Merger(nn.Module):
    """The patches of a square, side by side, through two layers; normalised before or after they meet."""

    def __init__(self, width: int, merge: int, text_width: int, norm_after: bool) -> None:
        super().__init__()
        self.inner = width * merge * merge
        self.norm_after = norm_after
        self.norm = nn.LayerNorm(self.inner if norm_after else width, eps=NORM_EPS)
        self.linear_fc1 = nn.Linear(self.inner, self.inner)
        self.linear_fc2 = nn.Linear(self.inner, text_width)

    def __call__(self, x: mx.array) -> mx.array:
        x = self.norm(x.reshape(-1, self.inner)) if self.norm_after else self.norm(x)
        return self.linear_fc2(nn.gelu(self.linear_fc1(x.reshape(-1, self.inner))))


class Qwen3Vision(QwenVision):
    def __init__(self, config: dict[str, Any], processor: dict[str, Any]) -> None:
        super().__init__(config, processor, DEFAULT)
        vision = config["vision_config"]
        width, merge = vision["hidden_size"], self.squares.merge
        self.patch_embed = nn.Linear(3 * self.squares.frames * self.squares.patch**2, width)
        self.pos_embed = nn.Embedding(vision["num_position_embeddings"], width)
        self.side = int(vision["num_position_embeddings"] ** 0.5)
        self.blocks = [Block(vision) for _ in range(vision["depth"])]
        self.merger = Merger(width, merge, vision["out_hidden_size"], norm_after=False)
        self.deep_layers = list(vision.get("deepstack_visual_indexes", []))
        self.deepstack_merger_list = [
            Merger(width, merge, vision["out_hidden_size"], norm_after=True)
            for _ in self.deep_layers
        ]
        self.head_width = width // vision["num_heads"]

    def encode(self, prepared: Prepared) -> Features:
        places = qwen_pixels.patch_positions(prepared.grid, self.squares.merge)
        angles = rotary_angles(places, self.head_width)
        x = self.patch_embed(self.patches(prepared, self.patch_embed.weight))
        x = x + self._stretched(places, prepared.grid)
        deep: list[mx.array] = []
        for index, block in enumerate(self.blocks):
            x = block(x, angles)
            if index in self.deep_layers:
                deep.append(self.deepstack_merger_list[self.deep_layers.index(index)](x))
        return Features(tokens=self.merger(x), deep=tuple(deep))

    def _stretched(self, places: np.ndarray[Any, Any], grid: tuple[int, int]) -> mx.array:
        """The square of learned positions, interpolated between its four nearest, corners on corners."""
        sides = np.array(grid) * self.squares.merge
        at = places * ((self.side - 1) / np.maximum(sides - 1, 1)).astype(np.float32)
        low = np.floor(at).astype(np.int32)
        high = np.minimum(low + 1, self.side - 1)
        part = (at - low).astype(np.float32)
        total = mx.zeros((len(places), self.pos_embed.weight.shape[1]))
        for row, row_weight in ((low[:, 0], 1 - part[:, 0]), (high[:, 0], part[:, 0])):
            for column, weight in ((low[:, 1], 1 - part[:, 1]), (high[:, 1], part[:, 1])):
                tap = self.pos_embed(mx.array(row * self.side + column))
                total = total + tap * mx.array((row_weight * weight)[:, None])
        return total.astype(self.pos_embed.weight.dtype)

    def steer(self, text: nn.Module, steering: Steering, config: dict[str, Any]) -> None:
        super().steer(text, steering, config)
        use_deep_features(text, steering)

    def sanitize(self, weights: Mapping[str, mx.array]) -> dict[str, mx.array]:
        kept = {
            k.removeprefix("visual."): v for k, v in names.of_tower(weights, ("visual.",)).items()
        }
        kernel = kept.pop("patch_embed.proj.weight")
        bias = kept.pop("patch_embed.proj.bias")
        flat = kernel.reshape(kernel.shape[0], -1)
        return {**kept, "patch_embed.weight": flat, "patch_embed.bias": bias}


def build(config: dict[str, Any], processor: dict[str, Any]) -> VisionModel:
    return Qwen3Vision(config, processor)
