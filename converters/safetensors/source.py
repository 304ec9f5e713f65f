"""A Safetensors checkpoint as an inventory."""

from collections.abc import Sequence
from pathlib import Path

from converters.errors import Unsupported
from converters.inventory import Inventory


def read(files: Sequence[Path]) -> Inventory:
    """Raises SourceError."""
    raise Unsupported("safetensors checkpoints are not supported yet")
