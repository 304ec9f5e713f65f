"""Pictures to normalised arrays, as transformers' processors on Pillow make them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

BILINEAR, BICUBIC, LANCZOS = 2, 3, 1  # Pillow's numbers, which processor settings use
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5, 0.5, 0.5)

Array = np.ndarray[Any, Any]


def resize(image: Image.Image, height: int, width: int, resample: int) -> Image.Image:
    """The picture in exactly this size."""
    if image.size == (width, height):
        return image
    return image.resize((width, height), Image.Resampling(resample))


def normalize(image: Image.Image, mean: Sequence[float], std: Sequence[float]) -> Array:
    """(3, height, width) float32: (value / 255 - mean) / std."""
    values = np.asarray(image, dtype=np.float32) / 255.0
    return ((values - np.array(mean, np.float32)) / np.array(std, np.float32)).transpose(2, 0, 1)


def patches(pixels: Array, size: int) -> Array:
    """(3, height, width) to (patches, 3 · size · size), row by row, as a patch convolution reads them."""
    channels, height, width = pixels.shape
    grid = pixels.reshape(channels, height // size, size, width // size, size)
    return grid.transpose(1, 3, 0, 2, 4).reshape(-1, channels * size * size)
