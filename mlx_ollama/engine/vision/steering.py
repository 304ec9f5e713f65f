"""What a text model must know of images while it computes, brought to it without a line of its code changed.

mlx-lm's text classes take embeddings, but nothing of rotary positions in three dimensions, of image tokens that see
each other, or of features for single layers. So their rotary modules, their mask function and their layers look here.

Invariant: everything is at rest (no positions, delta 0, no spans, no deep features) outside of `prefill` and
`decode`; both are entered on the engine's thread, and only while a graph is built.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from mlx_ollama.engine.vision.prompt import ImagePrompt


class Steering:
    """One for each loaded model."""

    def __init__(self) -> None:
        self._rest()

    def _rest(self) -> None:
        self.positions: mx.array | None = None
        self.delta: mx.array | int = 0
        self.spans: tuple[tuple[int, int], ...] = ()
        self.deep: tuple[mx.array, ...] = ()
        self.deep_at: mx.array | None = None

    @contextmanager
    def prefill(self, prompt: ImagePrompt, start: int, end: int) -> Generator[None]:
        """A chunk of one row's prompt."""
        if prompt.positions is not None:
            self.positions = mx.array(prompt.positions[:, start:end])
        if prompt.sees_whole_image:
            inside = [(a, b) for a, b in prompt.spans if start <= a and b <= end]
            self.spans = tuple((a - start, b - start) for a, b in inside)
        self.deep_at, _, self.deep = prompt.features(start, end)
        try:
            yield
        finally:
            self._rest()

    @contextmanager
    def decode(self, deltas: list[int]) -> Generator[None]:
        """One new token for each row, `deltas` as ImagePrompt.delta."""
        self.delta = deltas[0] if len(deltas) == 1 else mx.array(deltas)
        try:
            yield
        finally:
            self._rest()


def embed(model: nn.Module, ids: mx.array, prompt: ImagePrompt, start: int) -> mx.array:
    """(1, tokens, width): a chunk's token embeddings with the features of its images in their places.

    Models that scale their embeddings do so with what they are given too, so features are scaled down first.
    """
    inner: Any = model
    table = inner.model.embed_tokens(ids)
    at, features, _ = prompt.features(start, start + ids.shape[1])
    if at.size == 0:
        return table
    table[0, at] = (features / _embedding_scale(inner)).astype(table.dtype)
    return table


def _embedding_scale(model: Any) -> float:
    """Gemma's, rounded as mlx-lm rounds it."""
    if not model.args.model_type.startswith("gemma"):
        return 1.0
    return float(np.array(mx.array(model.args.hidden_size**0.5, mx.bfloat16).astype(mx.float32)))


class MultiRope(nn.Module):
    """Rotary positions of time, row and column, each for its share of a head's frequencies."""

    def __init__(
        self, steering: Steering, width: int, theta: float, sections: list[int], interleaved: bool
    ) -> None:
        super().__init__()
        self._steering = steering
        self._width, self._theta = width, theta
        self._axis = mx.array(_axes(width // 2, sections, interleaved))
        series = np.arange(0, width, 2, dtype=np.float32) / width
        self._frequencies = mx.array(1.0 / theta**series)

    def __call__(self, x: mx.array, offset: int | mx.array = 0) -> mx.array:
        places = self._steering.positions
        if places is None:
            at = offset + self._steering.delta
            return mx.fast.rope(
                x, self._width, traditional=False, base=self._theta, scale=1.0, offset=at
            )
        angles = places[self._axis].T.astype(mx.float32) * self._frequencies
        cos, sin = mx.cos(angles), mx.sin(angles)
        first, second = mx.split(x, 2, axis=-1)
        turned = [first * cos - second * sin, second * cos + first * sin]
        return mx.concatenate(turned, axis=-1).astype(x.dtype)


def _axes(count: int, sections: list[int], interleaved: bool) -> list[int]:
    """Which of time (0), row (1) and column (2) turns each frequency."""
    if not interleaved:
        return [axis for axis, length in enumerate(sections) for _ in range(length)]
    axes = [0] * count
    for axis in (1, 2):
        for index in range(axis, sections[axis] * 3, 3):
            axes[index] = axis
    return axes


def use_multi_rope(model: nn.Module, steering: Steering, config: dict[str, Any]) -> None:
    """Give every layer of a text model rotary positions in three dimensions."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    width = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    theta = config.get("rope_theta") or rope.get("rope_theta", 10_000.0)
    sections = rope.get("mrope_section", [16, 24, 24])
    inner: Any = model
    for layer in inner.model.layers:
        layer.self_attn.rope = MultiRope(
            steering, width, theta, sections, rope.get("mrope_interleaved", False)
        )


def use_deep_features(model: nn.Module, steering: Steering) -> None:
    """Let every layer add its deep features, if the chunk has any, to what it gives."""
    inner: Any = model
    for index, layer in enumerate(inner.model.layers):
        layer.__class__ = _deep_class(type(layer), steering, index)


def _deep_class(plain: type[nn.Module], steering: Steering, index: int) -> type[nn.Module]:
    def call(self: nn.Module, *args: Any, **kwargs: Any) -> mx.array:
        states: mx.array = plain.__call__(self, *args, **kwargs)
        if index < len(steering.deep) and steering.deep_at is not None and steering.deep_at.size:
            states = states.at[0, steering.deep_at].add(steering.deep[index].astype(states.dtype))
        return states

    return type(f"Deep{plain.__name__}", (plain,), {"__call__": call})


def see_whole_images(module: ModuleType, steering: Steering) -> None:
    """Let the image tokens of a chunk see each other, in a model module whose masks come from one function."""
    holder: Any = module
    causal: Callable[..., Any] = getattr(
        holder.create_attention_mask, "causal", holder.create_attention_mask
    )

    def create_attention_mask(
        h: mx.array, cache: Any = None, window_size: int | None = None, return_array: bool = False
    ) -> Any:
        if not steering.spans:
            return causal(h, cache, window_size=window_size, return_array=return_array)
        return _widened(
            causal(h, cache, window_size=window_size, return_array=True), steering.spans
        )

    create_attention_mask.causal = causal  # type: ignore[attr-defined]
    holder.create_attention_mask = create_attention_mask


def _widened(mask: mx.array, spans: tuple[tuple[int, int], ...]) -> mx.array:
    """The chunk's own keys are the mask's last columns."""
    length, before = mask.shape[-2], mask.shape[-1] - mask.shape[-2]
    image = np.full(length, -1)
    for number, (first, last) in enumerate(spans):
        image[first:last] = number
    together = (image[:, None] == image[None]) & (image[:, None] >= 0)
    padded = np.pad(together, ((0, 0), (before, 0)))
    return mask | mx.array(padded.tolist())
