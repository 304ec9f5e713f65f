"""LLaVA 1.5: CLIP up to its last but one layer, then two linear layers."""

from collections.abc import Mapping
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from PIL import Image

from mlx_ollama.engine.encoders.layers import ACTIVATIONS
from mlx_ollama.engine.vision import names, pixels
from mlx_ollama.engine.vision.model import Features, Prepared, VisionModel
from mlx_ollama.engine.vision.vit import Encoder, PatchEmbedding, ViTArgs


class Embeddings(nn.Module):
    """The class token stands before the patches."""

    def __init__(self, args: ViTArgs) -> None:
        super().__init__()
        self.class_embedding = mx.zeros(args.hidden_size)
        self.patch_embedding = PatchEmbedding(args, bias=False)
        self.position_embedding = nn.Embedding(args.side**2 + 1, args.hidden_size)

    def __call__(self, patches: mx.array) -> mx.array:
        tokens = mx.concatenate([self.class_embedding[None], self.patch_embedding(patches)])
        return tokens + self.position_embedding.weight


class CLIP(nn.Module):
    def __init__(self, args: ViTArgs) -> None:
        super().__init__()
        self.embeddings = Embeddings(args)
        self.pre_layrnorm = nn.LayerNorm(args.hidden_size, eps=args.layer_norm_eps)
        self.encoder = Encoder(args)

    def __call__(self, patches: mx.array) -> list[mx.array]:
        """The states before the first layer and after each one, class token included."""
        states = [self.pre_layrnorm(self.embeddings(patches))[None]]
        for layer in self.encoder.layers:
            states.append(layer(states[-1]))
        return [state[0] for state in states]


class Projector(nn.Module):
    def __init__(self, width: int, text_width: int, activation: str, bias: bool) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(width, text_width, bias=bias)
        self.linear_2 = nn.Linear(text_width, text_width, bias=bias)
        self.activation = ACTIVATIONS[activation]

    def __call__(self, x: mx.array) -> mx.array:
        return self.linear_2(self.activation(self.linear_1(x)))


class LlavaVision(VisionModel):
    def __init__(self, config: dict[str, Any], processor: dict[str, Any]) -> None:
        super().__init__()
        clip = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, **config["vision_config"]}
        self.args = ViTArgs.from_dict(clip)
        chosen = config.get("vision_feature_layer", -2)
        self.chosen = [chosen] if isinstance(chosen, int) else list(chosen)
        self.drops_class = config.get("vision_feature_select_strategy", "default") == "default"
        self.vision_tower = CLIP(self.args)
        self.multi_modal_projector = Projector(
            self.args.hidden_size * len(self.chosen),
            config["text_config"]["hidden_size"],
            config.get("projector_hidden_act", "gelu"),
            config.get("multimodal_projector_bias", True),
        )
        self.image_token = config.get("image_token_index", config.get("image_token_id", 32000))
        self.mean = processor.get("image_mean", pixels.CLIP_MEAN)
        self.std = processor.get("image_std", pixels.CLIP_STD)
        self.resample = processor.get("resample", pixels.BICUBIC)

    def prepare(self, image: Image.Image) -> Prepared:
        """The shorter side fits, the middle is kept."""
        size = self.args.image_size
        width, height = image.size
        if width < height:
            width, height = size, int(size * height / width)
        else:
            width, height = int(size * width / height), size
        image = pixels.resize(image, height, width, self.resample)
        left, top = (width - size) // 2, (height - size) // 2
        image = image.crop((left, top, left + size, top + size))
        rows = self.args.side
        values = pixels.normalize(image, self.mean, self.std)
        if self.drops_class:
            return Prepared(pixels=values, grid=(rows, rows))
        return Prepared(pixels=values, grid=(1, rows * rows + 1))

    def encode(self, prepared: Prepared) -> Features:
        states = self.vision_tower(mx.array(pixels.patches(prepared.pixels, self.args.patch_size)))
        features = mx.concatenate([states[i] for i in self.chosen], axis=-1)
        return Features(tokens=self.multi_modal_projector(features[int(self.drops_class) :]))

    def sanitize(self, weights: Mapping[str, mx.array]) -> dict[str, mx.array]:
        kept = names.of_tower(weights, ("vision_tower.", "multi_modal_projector."))
        unused = ("vision_tower.post_layernorm.", "vision_tower.embeddings.position_ids")
        return {k: v for k, v in kept.items() if not k.startswith(unused)}


def build(config: dict[str, Any], processor: dict[str, Any]) -> VisionModel:
    return LlavaVision(config, processor)
