"""A Safetensors checkpoint as an inventory."""

from collections.abc import Sequence
from pathlib import Path

from converters.inventory import Inventory
from converters.safetensors import checkpoint


def read(files: Sequence[Path]) -> Inventory:
    """A folder, or files with the names of a checkpoint's. Raises SourceError."""
    if len(files) == 1 and files[0].is_dir():
        named = checkpoint.files_of(files[0])
    else:
        named = {path.name: path for path in files}
    found = checkpoint.read(named)
    types = [t.type for t in found.tensors.values() if len(t.shape) > 1]
    return Inventory(
        kind="safetensors",
        architecture=found.architecture,
        metadata=found.config,
        tensors=tuple(found.tensors.values()),
        file_type=max(set(types), key=types.count) if types else "unknown",
        files=tuple(named.values()),
    )
