"""Rotary positions in two dimensions: half of a head's frequencies turn with the row, half with the column."""

from typing import Any

import mlx.core as mx
import numpy as np

THETA = 10_000.0


def rotary_angles(
    positions: np.ndarray[Any, Any], head_width: int, theta: float = THETA
) -> mx.array:
    """(patches, head_width / 2) angles for (patches, 2) rows and columns."""
    quarter = np.arange(0, head_width // 2, 2, dtype=np.float32) / (head_width // 2)
    frequencies = 1.0 / theta**quarter
    angles = positions[:, :, None].astype(np.float32) * frequencies
    return mx.array(angles.reshape(len(positions), -1))


def alternating_angles(
    positions: np.ndarray[Any, Any], head_width: int, theta: float = THETA
) -> mx.array:
    """As `rotary_angles`, but rows and columns take every other frequency of one series (Pixtral)."""
    frequencies = 1.0 / theta ** (np.arange(0, head_width, 2, dtype=np.float32) / head_width)
    halves = [positions[:, i : i + 1].astype(np.float32) * frequencies[i::2] for i in (0, 1)]
    return mx.array(np.concatenate(halves, axis=1))


def rotate(x: mx.array, angles: mx.array) -> mx.array:
    """x (tokens, heads, width): its first half turned against its second by angles (tokens, width / 2)."""
    cos, sin = mx.cos(angles)[:, None], mx.sin(angles)[:, None]
    first, second = mx.split(x, 2, axis=-1)
    turned = [first * cos - second * sin, second * cos + first * sin]
    return mx.concatenate(turned, axis=-1).astype(x.dtype)
