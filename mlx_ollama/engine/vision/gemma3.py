"""Gemma 3: SigLIP at a fixed size, pooled to a square of tokens, projected."""

import sys
from collections.abc import Mapping
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from PIL import Image

from mlx_ollama.engine.vision import names, pixels
from mlx_ollama.engine.vision.model import Features, Prepared, TokenText, VisionModel
from mlx_ollama.engine.vision.steering import Steering, see_whole_images
from mlx_ollama.engine.vision.vit import Encoder, PatchEmbedding, ViTArgs

RMS_EPS = 1e-6


class Embeddings(nn.Module):
    def __init__(self, args: ViTArgs) -> None:
        super().__init__()
        self.patch_embedding = PatchEmbedding(args, bias=True)
        self.position_embedding = nn.Embedding(args.side**2, args.hidden_size)

    def __call__(self, patches: mx.array) -> mx.array:
        return self.patch_embedding(patches) + self.position_embedding.weight


class SigLIP(nn.Module):
    def __init__(self, args: ViTArgs) -> None:
        super().__init__()
        self.embeddings = Embeddings(args)
        self.encoder = Encoder(args)
        self.post_layernorm = nn.LayerNorm(args.hidden_size, eps=args.layer_norm_eps)

    def __call__(self, patches: mx.array) -> mx.array:
        return self.post_layernorm(self.encoder(self.embeddings(patches)[None]))[0]


class Projector(nn.Module):
    """`mm_soft_emb_norm.weight` is the distance from one, as in the text model."""

    def __init__(self, width: int, text_width: int) -> None:
        super().__init__()
        self.mm_input_projection_weight = mx.zeros((width, text_width))
        self.mm_soft_emb_norm = nn.RMSNorm(width, eps=RMS_EPS)

    def __call__(self, x: mx.array) -> mx.array:
        x = mx.fast.rms_norm(x, 1.0 + self.mm_soft_emb_norm.weight, RMS_EPS)
        return x @ self.mm_input_projection_weight


class Gemma3Vision(VisionModel):
    sees_whole_image = True

    def __init__(self, config: dict[str, Any], processor: dict[str, Any]) -> None:
        super().__init__()
        self.args = ViTArgs.from_dict(config["vision_config"])
        self.vision_tower = SigLIP(self.args)
        self.multi_modal_projector = Projector(
            self.args.hidden_size, config["text_config"]["hidden_size"]
        )
        self.side = round(config.get("mm_tokens_per_image", 256) ** 0.5)
        self.image_token = config.get("image_token_index", config.get("image_token_id", 262144))
        self.begin = config.get("boi_token_index", 255999)
        self.end = config.get("eoi_token_index", 256000)
        self.mean = processor.get("image_mean", pixels.HALF)
        self.std = processor.get("image_std", pixels.HALF)
        self.resample = processor.get("resample", pixels.BILINEAR)

    def prepare(self, image: Image.Image) -> Prepared:
        size = self.args.image_size
        image = pixels.resize(image, size, size, self.resample)
        values = pixels.normalize(image, self.mean, self.std)
        return Prepared(pixels=values, grid=(self.side, self.side))

    def encode(self, prepared: Prepared) -> Features:
        patches = mx.array(pixels.patches(prepared.pixels, self.args.patch_size))
        return Features(tokens=self.multi_modal_projector(self._pool(self.vision_tower(patches))))

    def _pool(self, x: mx.array) -> mx.array:
        """The mean of each square of patches."""
        step = self.args.side // self.side
        squares = x.reshape(self.side, step, self.side, step, -1)
        return squares.mean(axis=(1, 3)).reshape(self.side**2, -1)

    def marker(self, text: TokenText) -> str:
        return text(self.begin)

    def expansion(self, prepared: Prepared, text: TokenText) -> str:
        return f"\n\n{text(self.begin)}{super().expansion(prepared, text)}{text(self.end)}\n\n"

    def steer(self, text: nn.Module, steering: Steering, config: dict[str, Any]) -> None:
        see_whole_images(sys.modules[type(text).__module__], steering)

    def sanitize(self, weights: Mapping[str, mx.array]) -> dict[str, mx.array]:
        kept = names.of_tower(weights, ("vision_tower.", "multi_modal_projector."))
        return {k: v for k, v in kept.items() if not k.startswith("vision_tower.head.")}


def build(config: dict[str, Any], processor: dict[str, Any]) -> VisionModel:
    return Gemma3Vision(config, processor)
