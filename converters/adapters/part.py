"""What an adapter adds to one linear layer, and what every format of adapters must keep to."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from converters.errors import InvalidSource, Unsupported
from converters.safetensors.arrays import FLOATS

Floats = NDArray[np.float32]
MAX_RANK = 1024


@dataclass(frozen=True, kw_only=True)
class AdapterPart:
    """`scale * up @ down` is added to the weight of the linear layer at the path `module`.

    `down` (rank, in), `up` (out, rank), rows and columns in the order of the MLX model's.
    """

    module: str
    down: Floats
    up: Floats
    scale: float


def check_type(name: str, kind: str) -> None:
    """Before anything of a tensor is read."""
    if kind not in FLOATS:
        raise Unsupported(f'tensor "{name}" of the adapter has type {kind}, which is no float')


def check_rank(name: str, down: tuple[int, ...], up: tuple[int, ...]) -> None:
    """Row-major shapes of the two halves for the layer called `name`."""
    if len(down) != 2 or len(up) != 2 or down[0] != up[1] or not down[0]:
        raise InvalidSource(f'the adapter\'s "{name}" is not of low rank')
    if down[0] > MAX_RANK:
        raise Unsupported(f'the adapter\'s "{name}" has rank {down[0]}, more than {MAX_RANK}')


def check_values(part: AdapterPart) -> AdapterPart:
    if not np.isfinite(part.down).all() or not np.isfinite(part.up).all():
        raise InvalidSource(f'the adapter\'s "{part.module}" has values that are no numbers')
    return part
