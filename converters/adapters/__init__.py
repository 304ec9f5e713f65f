"""LoRA adapters as what each linear layer of the MLX model gets. A format is one file: `read(path, config)`.

Stored, an adapter is one file: a GGUF as it was uploaded, or PEFT's weights with its settings in their header.
"""

from collections.abc import Iterator
from pathlib import Path

from converters import inventory
from converters.adapters import gguf, peft
from converters.adapters.part import AdapterPart, Floats
from converters.architectures.family import Config

__all__ = ["AdapterPart", "Floats", "read"]


def read(path: Path, config: Config) -> Iterator[AdapterPart]:
    """The parts of a stored adapter for the model of `config` (its config.json). Raises SourceError."""
    return (gguf if inventory.is_gguf(path) else peft).read(path, config)
