"""What an adapter adds to one linear layer, and what every format of adapters must keep to."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.architectures.family import Config
from converters.errors import InvalidSource, Unsupported
from converters.safetensors.arrays import FLOATS

Floats = NDArray[np.float32]
Settings = dict[str, Any]  # adapter_config.json
MAX_RANK = 1024
# Classes whose weights are not the checkpoint's but products of them.
_REWEIGHTED = ("falcon_h1",)


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


def check_halves(halves: Mapping[str, Mapping[str, object]]) -> None:
    """By the layer's name: what goes down and what goes up."""
    if not halves:
        raise InvalidSource("the adapter has no layers")
    lone = next((name for name, pair in halves.items() if len(pair) != 2), None)
    if lone is not None:
        raise InvalidSource(f'the adapter lacks one half of "{lone}"')


def parse_settings(text: str) -> Settings:
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidSource("adapter_config.json is not JSON") from None
    if not isinstance(found, dict):
        raise InvalidSource("adapter_config.json is not an object")
    return found


def refuse_reweighted(config: Config) -> None:
    """Of adapters that are made for a checkpoint's weights."""
    name = config.get("model_type")
    if name in _REWEIGHTED:
        raise Unsupported(f'such adapters for architecture "{name}" are not supported yet')


def module_path(name: str) -> str:
    """The text model's own path of a module that a model which sees keeps below `language_model`."""
    for prefix in ("model.language_model.", "language_model.model."):
        if name.startswith(prefix):
            return "model." + name.removeprefix(prefix)
    return name.removeprefix("language_model.")
