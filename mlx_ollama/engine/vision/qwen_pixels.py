"""Qwen-VL's pictures: any size, in patches that lie in the order of the squares they are merged into."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from mlx_ollama.engine.vision import pixels
from mlx_ollama.engine.vision.model import Prepared

MAX_RATIO = 200


class UnsuitableImage(ValueError):
    """A picture that no size of this family fits; its text is for the client."""


@dataclass(frozen=True, kw_only=True)
class Squares:
    """`factor` pixels of a side become one token: `merge` patches of `patch` pixels."""

    patch: int
    merge: int
    frames: int
    min_pixels: int
    max_pixels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resample: int = pixels.BICUBIC

    @property
    def factor(self) -> int:
        return self.patch * self.merge

    def size(self, height: int, width: int) -> tuple[int, int]:
        """The multiple of `factor` nearest to a size, within the bounds of pixels."""
        if max(height, width) > MAX_RATIO * min(height, width):
            raise UnsuitableImage(f"image is more than {MAX_RATIO} times as long as wide")
        near = [round(side / self.factor) * self.factor for side in (height, width)]
        if near[0] * near[1] > self.max_pixels:
            shrink = math.sqrt(height * width / self.max_pixels) * self.factor
            near = [max(1, math.floor(s / shrink)) * self.factor for s in (height, width)]
        elif near[0] * near[1] < self.min_pixels:
            grow = math.sqrt(self.min_pixels / (height * width)) / self.factor
            near = [math.ceil(side * grow) * self.factor for side in (height, width)]
        return near[0], near[1]

    def prepare(self, image: Image.Image) -> Prepared:
        """`pixels`: (patches, 3 · frames · patch · patch); a still picture repeats itself in time."""
        height, width = self.size(image.height, image.width)
        image = pixels.resize(image, height, width, self.resample)
        values = pixels.normalize(image, self.mean, self.std)
        rows, columns = height // self.factor, width // self.factor
        p, m = self.patch, self.merge
        split = values.reshape(3, rows, m, p, columns, m, p)
        ordered = split.transpose(
            1, 4, 2, 5, 0, 3, 6
        )  # row, column, inner row, inner column, 3, p, p
        still = np.repeat(ordered[:, :, :, :, :, None], self.frames, axis=5)
        return Prepared(pixels=still.reshape(rows * columns * m * m, -1), grid=(rows, columns))


def squares(config: dict[str, Any], processor: dict[str, Any], default: Squares) -> Squares:
    """The settings of a model, `default` where it has none."""
    size = processor.get("size") or {}
    return Squares(
        patch=config.get("patch_size", default.patch),
        merge=config.get("spatial_merge_size", default.merge),
        frames=config.get("temporal_patch_size", default.frames),
        min_pixels=processor.get("min_pixels") or size.get("shortest_edge", default.min_pixels),
        max_pixels=processor.get("max_pixels") or size.get("longest_edge", default.max_pixels),
        mean=tuple(processor.get("image_mean", default.mean)),
        std=tuple(processor.get("image_std", default.std)),
        resample=processor.get("resample", default.resample),
    )


def patch_positions(grid: tuple[int, int], merge: int) -> np.ndarray[Any, Any]:
    """(patches, 2): row and column of each patch, in the order of `Squares.prepare`."""
    rows, columns = np.indices((grid[0] * merge, grid[1] * merge))
    both = np.stack([rows, columns], axis=-1)
    split = both.reshape(grid[0], merge, grid[1], merge, 2)
    return split.transpose(0, 2, 1, 3, 4).reshape(-1, 2)


def rope_positions(
    ids: list[int] | tuple[int, ...], image_token: int, images: list[Prepared]
) -> tuple[np.ndarray[Any, Any], int]:
    """(3, tokens): time, row and column. An image's tokens share their time; text goes on after its longer side."""
    out = np.zeros((3, len(ids)), dtype=np.int32)
    at = position = 0
    waiting = iter(images)
    while at < len(ids):
        if ids[at] != image_token:
            out[:, at] = position
            at, position = at + 1, position + 1
            continue
        image = next(waiting)
        rows, columns = np.indices(image.grid).reshape(2, -1)
        span = slice(at, at + image.tokens)
        out[:, span] = position + np.stack([np.zeros_like(rows), rows, columns])
        at, position = at + image.tokens, position + max(image.grid)
    return out, position - len(ids)
