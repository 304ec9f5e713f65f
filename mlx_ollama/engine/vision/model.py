"""What every vision family gives: pixels for a picture, features for pixels, and how the prompt names them."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from PIL import Image

TokenText = Callable[[int], str]  # a special token's text by its id


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A picture as its family wants it. `pixels` float32, its shape the family's own; `grid` is rows and columns
    of the tokens it becomes; `tiles` rows and columns of the pieces it was cut into, if it was."""

    pixels: np.ndarray[Any, Any]
    grid: tuple[int, int]
    tiles: tuple[int, int] = (0, 0)

    @property
    def tokens(self) -> int:
        return self.grid[0] * self.grid[1]


@dataclass(frozen=True, kw_only=True)
class Features:
    """(tokens, text width). `deep`: what is added after each of the text model's first layers (Qwen3-VL)."""

    tokens: mx.array
    deep: tuple[mx.array, ...] = ()


class VisionModel(nn.Module):
    """`image_token` stands in the prompt, once for each row of features, until the features take its place.

    `sees_whole_image`: tokens of one image see each other in both directions.
    """

    image_token: int
    sees_whole_image: bool = False

    @abstractmethod
    def prepare(self, image: Image.Image) -> Prepared:
        """Resize and normalise an RGB picture; no MLX."""

    @abstractmethod
    def encode(self, prepared: Prepared) -> Features:
        """The tower and the projector, not yet evaluated."""

    def marker(self, text: TokenText) -> str:
        """What a chat template writes for one image."""
        return text(self.image_token)

    def expansion(self, prepared: Prepared, text: TokenText) -> str:
        """What the marker becomes before tokenizing."""
        return text(self.image_token) * prepared.tokens

    def positions(
        self, ids: Sequence[int], images: Sequence[Prepared]
    ) -> tuple[np.ndarray[Any, Any], int] | None:
        """(3, tokens) rotary positions and what the next position differs by; None: the ordinary ones."""
        return None

    def steer(self, text: nn.Module, steering: Any, config: dict[str, Any]) -> None:
        """Prepare the text model for what this family's images ask of it (`steering.Steering`); mostly nothing.

        `config` is the text model's.
        """

    def sanitize(self, weights: Mapping[str, mx.array]) -> dict[str, mx.array]:
        """The tower's and projector's weights out of a whole checkpoint, under the names here."""
        return dict(weights)
