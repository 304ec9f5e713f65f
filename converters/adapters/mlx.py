"""mlx-lm's LoRA adapters: adapters.safetensors with `….lora_a` (in, rank), `….lora_b` (rank, out) under the MLX model's
module names, and adapter_config.json with one scale."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from converters.adapters.part import (
    AdapterPart,
    Floats,
    Settings,
    check_halves,
    check_rank,
    check_type,
    check_values,
    module_path,
)
from converters.architectures.family import Config
from converters.errors import InvalidSource, Unsupported
from converters.inventory import Tensor
from converters.safetensors.arrays import read_array

HALVES = ("lora_a", "lora_b")


def read(tensors: list[Tensor], settings: Settings, config: Config) -> Iterator[AdapterPart]:
    """Raises InvalidSource and Unsupported."""
    scale = scale_of(settings)
    for name, (a, b) in pairs(tensors).items():
        check_rank(name, a.shape[::-1], b.shape[::-1])
        down, up = _turned(a), _turned(b)
        yield check_values(AdapterPart(module=module_path(name), down=down, up=up, scale=scale))


def _turned(tensor: Tensor) -> Floats:
    return np.ascontiguousarray(read_array(tensor).floats().T)


def scale_of(settings: Settings) -> float:
    kind = settings.get("fine_tune_type", "lora")
    if kind != "lora":
        raise Unsupported(f"adapters with fine_tune_type {str(kind)[:64]} are not supported")
    parameters = settings.get("lora_parameters")
    scale: Any = parameters.get("scale") if isinstance(parameters, dict) else None
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale < 1e6:
        raise InvalidSource('key "scale" of adapter_config.json is no positive number')
    return float(scale)


def pairs(tensors: list[Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """By module: what goes down, what goes up. Every tensor is one of them, or it is an error."""
    halves: dict[str, dict[str, Tensor]] = {}
    for tensor in tensors:
        name, _, half = tensor.name.rpartition(".")
        if half not in HALVES:
            raise Unsupported(f'tensor "{tensor.name}" of the adapter is not supported')
        check_type(tensor.name, tensor.type)
        halves.setdefault(name, {})[half] = tensor
    check_halves(halves)
    return {name: (pair["lora_a"], pair["lora_b"]) for name, pair in halves.items()}
