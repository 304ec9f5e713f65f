"""A prompt with images in it, as the engine feeds it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import numpy as np

from mlx_ollama.engine.vision.model import Features, Prepared, VisionModel


@dataclass(frozen=True, kw_only=True)
class ImagePrompt:
    """`spans`: first and one past the last token of each image; `tokens` and `deep`: the features of all of them,
    in the order of the prompt. `positions` (3, prompt) and `delta` as VisionModel.positions."""

    spans: tuple[tuple[int, int], ...]
    tokens: mx.array
    deep: tuple[mx.array, ...]
    sees_whole_image: bool
    positions: np.ndarray[Any, Any] | None
    delta: int

    def whole(self, start: int, end: int) -> int:
        """An end of a chunk that cuts no image whose tokens see each other; never before `end`."""
        for first, last in self.spans:
            if self.sees_whole_image and start <= first < end < last:
                return last
        return end

    def features(self, start: int, end: int) -> tuple[mx.array, mx.array, tuple[mx.array, ...]]:
        """Of a chunk: (n,) where its image tokens are, counted from `start`; their features; their deep ones."""
        places = np.concatenate([np.arange(first, last) for first, last in self.spans])
        inside = np.flatnonzero((places >= start) & (places < end))
        rows = mx.array(inside)
        at = mx.array(places[inside] - start)
        return at, self.tokens[rows], tuple(part[rows] for part in self.deep)


def image_prompt(
    model: VisionModel,
    ids: Sequence[int],
    images: Sequence[Prepared],
    features: Sequence[Features],
) -> ImagePrompt:
    """Bring ids and features together; ValueError when the ids have another number of image tokens."""
    places = np.flatnonzero(np.array(ids) == model.image_token)
    counts = [len(feature.tokens) for feature in features]
    if len(places) != sum(counts):
        raise ValueError(f"prompt has {len(places)} image tokens, its images need {sum(counts)}")
    placed = model.positions(ids, images)
    return ImagePrompt(
        spans=_spans(places, counts),
        tokens=mx.concatenate([feature.tokens for feature in features]),
        deep=tuple(
            mx.concatenate(list(parts)) for parts in zip(*(f.deep for f in features), strict=True)
        ),
        sees_whole_image=model.sees_whole_image,
        positions=None if placed is None else placed[0],
        delta=0 if placed is None else placed[1],
    )


def _spans(places: np.ndarray[Any, Any], counts: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Runs of neighbouring image tokens, cut where an image ends."""
    spans: list[tuple[int, int]] = []
    ends = set(np.cumsum(counts).tolist())
    start = 0
    for index in range(1, len(places) + 1):
        apart = index == len(places) or places[index] != places[index - 1] + 1
        if apart or index in ends:
            spans.append((int(places[start]), int(places[index - 1]) + 1))
            start = index
    return tuple(spans)
