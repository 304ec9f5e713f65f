"""Idefics 3 and SmolVLM: SigLIP over square tiles of a picture and over the whole of it."""

import math
from collections.abc import Mapping
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from PIL import Image

from mlx_ollama.engine.vision import names, pixels
from mlx_ollama.engine.vision.gemma3 import SigLIP
from mlx_ollama.engine.vision.model import Features, Prepared, TokenText, VisionModel
from mlx_ollama.engine.vision.vit import ViTArgs

MAX_SIDE = 4096
AROUND, WHOLE = "<fake_token_around_image>", "<global-img>"


class Connector(nn.Module):
    """Squares of patches, side by side, through one layer."""

    def __init__(self, width: int, text_width: int) -> None:
        super().__init__()
        self.modality_projection = {"proj": nn.Linear(width, text_width, bias=False)}

    def __call__(self, x: mx.array) -> mx.array:
        return self.modality_projection["proj"](x)


class Idefics3Vision(VisionModel):
    def __init__(self, config: dict[str, Any], processor: dict[str, Any]) -> None:
        super().__init__()
        self.args = ViTArgs.from_dict(config["vision_config"])
        self.scale = config.get("scale_factor", 2)
        self.vision_model = SigLIP(self.args)
        self.connector = Connector(
            self.args.hidden_size * self.scale**2, config["text_config"]["hidden_size"]
        )
        self.image_token = config.get("image_token_id", 128257)
        self.tile = processor.get("max_image_size", {}).get("longest_edge", self.args.image_size)
        self.longest = processor.get("size", {}).get("longest_edge", 4 * self.tile)
        self.splits = processor.get("do_image_splitting", True)
        self.mean = processor.get("image_mean", pixels.HALF)
        self.std = processor.get("image_std", pixels.HALF)
        self.resample = processor.get("resample", pixels.LANCZOS)

    def prepare(self, image: Image.Image) -> Prepared:
        image = pixels.resize(image, *self._scaled(image.height, image.width), self.resample)
        tiles, rows, columns = [], 0, 0
        if self.splits:
            image = pixels.resize(image, *self._multiple(image.height, image.width), self.resample)
            rows, columns = image.height // self.tile, image.width // self.tile
        if rows * columns > 1:
            tiles = [self._cut(image, row, col) for row in range(rows) for col in range(columns)]
        else:
            rows = columns = 0
        tiles.append(pixels.resize(image, self.tile, self.tile, self.resample))
        values = np.stack([pixels.normalize(tile, self.mean, self.std) for tile in tiles])
        each = (self.args.side // self.scale) ** 2
        return Prepared(pixels=values, grid=(len(tiles), each), tiles=(rows, columns))

    def _scaled(self, height: int, width: int) -> tuple[int, int]:
        """The longer side as set, the other even, neither above the bound."""
        shorter = int(self.longest * min(height, width) / max(height, width))
        longer, shorter = self.longest, max(1, shorter + shorter % 2)
        if longer > MAX_SIDE:
            longer, shorter = MAX_SIDE, max(1, int(MAX_SIDE * shorter / longer))
        return (longer, shorter) if height > width else (shorter, longer)

    def _multiple(self, height: int, width: int) -> tuple[int, int]:
        """The longer side up to a multiple of a tile, then the other one."""
        longer = math.ceil(max(height, width) / self.tile) * self.tile
        shorter = int(longer * min(height, width) / max(height, width))
        shorter = math.ceil(shorter / self.tile) * self.tile
        return (longer, shorter) if height > width else (shorter, longer)

    def _cut(self, image: Image.Image, row: int, column: int) -> Image.Image:
        left, top = column * self.tile, row * self.tile
        return image.crop((left, top, left + self.tile, top + self.tile))

    def encode(self, prepared: Prepared) -> Features:
        parts = [
            self._merge(self.vision_model(mx.array(pixels.patches(tile, self.args.patch_size))))
            for tile in prepared.pixels
        ]
        return Features(tokens=self.connector(mx.concatenate(parts)))

    def _merge(self, x: mx.array) -> mx.array:
        side, step = self.args.side // self.scale, self.scale
        squares = x.reshape(side, step, side, step, -1).transpose(0, 2, 1, 3, 4)
        return squares.reshape(side * side, -1)

    def expansion(self, prepared: Prepared, text: TokenText) -> str:
        """Each tile with its place, row by row, then the whole."""
        image = text(self.image_token) * prepared.grid[1]
        rows, columns = prepared.tiles
        tiled = "".join(
            "".join(f"{AROUND}<row_{r + 1}_col_{c + 1}>{image}" for c in range(columns)) + "\n"
            for r in range(rows)
        )
        between = "\n" if rows else ""
        return f"{tiled}{between}{AROUND}{WHOLE}{image}{AROUND}"

    def sanitize(self, weights: Mapping[str, mx.array]) -> dict[str, mx.array]:
        return names.of_tower(weights, ("vision_model.", "connector."))


def build(config: dict[str, Any], processor: dict[str, Any]) -> VisionModel:
    return Idefics3Vision(config, processor)
