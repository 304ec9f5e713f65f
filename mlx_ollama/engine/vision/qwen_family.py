"""What the Qwen vision models share: pictures of any size between two marks, positions in three dimensions."""

from collections.abc import Sequence
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from PIL import Image

from mlx_ollama.engine.vision import qwen_pixels
from mlx_ollama.engine.vision.model import Prepared, TokenText, VisionModel
from mlx_ollama.engine.vision.steering import Steering, use_multi_rope


class QwenVision(VisionModel):
    def __init__(
        self, config: dict[str, Any], processor: dict[str, Any], default: qwen_pixels.Squares
    ) -> None:
        super().__init__()
        self.squares = qwen_pixels.squares(config["vision_config"], processor, default)
        self.image_token = config.get("image_token_id", 151655)
        self.begin = config.get("vision_start_token_id", 151652)
        self.end = config.get("vision_end_token_id", 151653)

    def prepare(self, image: Image.Image) -> Prepared:
        return self.squares.prepare(image)

    def patches(self, prepared: Prepared, weight: mx.array) -> mx.array:
        """The pixels as an array of the tower's dtype."""
        return mx.array(prepared.pixels).astype(weight.dtype)

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
