"""LoRA adapters as what each linear layer of the MLX model gets. A format is one file.

Stored, an adapter is one file: a GGUF as it was uploaded, or Safetensors with its settings in their header.
"""

from collections.abc import Iterator
from pathlib import Path

from converters import inventory
from converters.adapters import gguf, mlx, peft
from converters.adapters.part import AdapterPart, Floats, Settings, parse_settings
from converters.architectures.family import Config
from converters.inventory import Tensor
from converters.safetensors.reader import read_tensors

__all__ = ["SETTINGS", "AdapterPart", "Floats", "check", "read"]

SETTINGS = "adapter_config"  # the header's key for the content of adapter_config.json


def read(path: Path, config: Config) -> Iterator[AdapterPart]:
    """The parts of a stored adapter for the model of `config` (its config.json). Raises SourceError."""
    if inventory.is_gguf(path):
        return gguf.read(path, config)
    tensors, metadata = read_tensors(path)
    settings = parse_settings(metadata.get(SETTINGS, ""))
    return (mlx if _is_mlx(settings) else peft).read(tensors, settings, config)


def check(tensors: list[Tensor], settings: Settings) -> None:
    """Of headers alone: whether these are an adapter's. Raises SourceError."""
    if _is_mlx(settings):
        mlx.scale_of(settings)
        mlx.pairs(tensors)
    else:
        peft.scaling_of(settings)
        peft.pairs(tensors)


def _is_mlx(settings: Settings) -> bool:
    return "lora_parameters" in settings or "fine_tune_type" in settings
