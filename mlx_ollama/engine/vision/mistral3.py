"""Mistral 3: Pixtral over pictures of any size, squares of patches merged, two linear layers."""

import math
from collections.abc import Mapping
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from PIL import Image

from mlx_ollama.engine.encoders.layers import ACTIVATIONS
from mlx_ollama.engine.vision import names, pixels
from mlx_ollama.engine.vision.model import Features, Prepared, TokenText, VisionModel
from mlx_ollama.engine.vision.rotary import alternating_angles, rotate
from mlx_ollama.engine.vision.vit import GatedMLP

RMS_EPS = 1e-5


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)

    def __call__(self, x: mx.array, angles: mx.array) -> mx.array:
        split = (len(x), self.heads, -1)
        q = rotate(self.q_proj(x).reshape(split), angles)
        k = rotate(self.k_proj(x).reshape(split), angles)
        v = self.v_proj(x).reshape(split)
        q, k, v = (part.transpose(1, 0, 2)[None] for part in (q, k, v))
        out = mx.fast.scaled_dot_product_attention(q, k, v, scale=q.shape[-1] ** -0.5)
        return self.o_proj(out[0].transpose(1, 0, 2).reshape(x.shape))


class Block(nn.Module):
    def __init__(self, vision: dict[str, Any]) -> None:
        super().__init__()
        width = vision["hidden_size"]
        self.attention_norm = nn.RMSNorm(width, eps=RMS_EPS)
        self.ffn_norm = nn.RMSNorm(width, eps=RMS_EPS)
        self.attention = Attention(width, vision["num_attention_heads"])
        activation = vision.get("hidden_act", "gelu")
        self.feed_forward = GatedMLP(width, vision["intermediate_size"], activation, bias=False)

    def __call__(self, x: mx.array, angles: mx.array) -> mx.array:
        x = x + self.attention(self.attention_norm(x), angles)
        return x + self.feed_forward(self.ffn_norm(x))


class Pixtral(nn.Module):
    def __init__(self, vision: dict[str, Any]) -> None:
        super().__init__()
        width, patch = vision["hidden_size"], vision["patch_size"]
        self.patch_conv = nn.Linear(3 * patch * patch, width, bias=False)
        self.ln_pre = nn.RMSNorm(width, eps=RMS_EPS)
        self.transformer = {"layers": [Block(vision) for _ in range(vision["num_hidden_layers"])]}
        self.head_width = vision.get("head_dim") or width // vision["num_attention_heads"]
        rope = vision.get("rope_parameters") or {}
        self.theta = rope.get("rope_theta", vision.get("rope_theta", 10_000.0))

    def __call__(self, patches: mx.array, grid: tuple[int, int]) -> list[mx.array]:
        """The states before the first layer and after each one."""
        places = np.indices(grid).reshape(2, -1).T
        angles = alternating_angles(places, self.head_width, self.theta)
        states = [self.ln_pre(self.patch_conv(patches.astype(self.patch_conv.weight.dtype)))]
        for layer in self.transformer["layers"]:
            states.append(layer(states[-1], angles))
        return states


class Projector(nn.Module):
    def __init__(self, config: dict[str, Any], merge: int, layers: int) -> None:
        super().__init__()
        text, width = config["text_config"], config["vision_config"]["hidden_size"]
        bias = config.get("multimodal_projector_bias", False)
        self.merge = merge
        self.norm = nn.RMSNorm(width, eps=text.get("rms_norm_eps", 1e-5))
        merging = nn.Linear(width * merge**2, width, bias=False)
        self.patch_merger = {"merging_layer": merging}
        self.linear_1 = nn.Linear(width * layers, text["hidden_size"], bias=bias)
        self.linear_2 = nn.Linear(text["hidden_size"], text["hidden_size"], bias=bias)
        self.activation = ACTIVATIONS[config.get("projector_hidden_act", "gelu")]

    def __call__(self, x: mx.array, grid: tuple[int, int]) -> mx.array:
        m, (rows, columns) = self.merge, grid
        cells = self.norm(x).reshape(rows // m, m, columns // m, m, -1).transpose(0, 2, 4, 1, 3)
        x = self.patch_merger["merging_layer"](cells.reshape(rows * columns // m**2, -1))
        return self.linear_2(self.activation(self.linear_1(x)))


class Mistral3Vision(VisionModel):
    def __init__(self, config: dict[str, Any], processor: dict[str, Any]) -> None:
        super().__init__()
        vision = config["vision_config"]
        self.patch, self.merge = vision["patch_size"], config.get("spatial_merge_size", 2)
        chosen = config.get("vision_feature_layer", -1)
        self.chosen = [chosen] if isinstance(chosen, int) else list(chosen)
        self.vision_tower = Pixtral(vision)
        self.multi_modal_projector = Projector(config, self.merge, len(self.chosen))
        self.image_token = config.get("image_token_index", config.get("image_token_id", 10))
        self.longest = processor.get("size", {}).get("longest_edge", vision["image_size"])
        self.mean = processor.get("image_mean", pixels.CLIP_MEAN)
        self.std = processor.get("image_std", pixels.CLIP_STD)
        self.resample = processor.get("resample", pixels.BICUBIC)

    def prepare(self, image: Image.Image) -> Prepared:
        """Within the longest side, each side up to a multiple of a token's."""
        unit = self.patch * self.merge
        ratio = max(1.0, max(image.size) / self.longest)
        sides = [max(1, math.floor(side / ratio)) for side in (image.height, image.width)]
        rows, columns = (math.ceil(side / unit) for side in sides)
        image = pixels.resize(image, rows * unit, columns * unit, self.resample)
        return Prepared(pixels=pixels.normalize(image, self.mean, self.std), grid=(rows, columns))

    def encode(self, prepared: Prepared) -> Features:
        grid = (prepared.grid[0] * self.merge, prepared.grid[1] * self.merge)
        states = self.vision_tower(mx.array(pixels.patches(prepared.pixels, self.patch)), grid)
        chosen = mx.concatenate([states[i] for i in self.chosen], axis=-1)
        return Features(tokens=self.multi_modal_projector(chosen, grid))

    def expansion(self, prepared: Prepared, text: TokenText) -> str:
        """A break after each row, an end after the last; both have the names that Mistral gave them."""
        rows, columns = prepared.grid
        row = text(self.image_token) * columns
        return "[IMG_BREAK]".join([row] * rows) + "[IMG_END]"

    def sanitize(self, weights: Mapping[str, mx.array]) -> dict[str, mx.array]:
        kept = names.of_tower(weights, ("vision_tower.", "multi_modal_projector."))
        kernel = kept["vision_tower.patch_conv.weight"]
        return {**kept, "vision_tower.patch_conv.weight": kernel.reshape(kernel.shape[0], -1)}


def build(config: dict[str, Any], processor: dict[str, Any]) -> VisionModel:
    return Mistral3Vision(config, processor)
