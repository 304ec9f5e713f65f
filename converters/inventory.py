"""What a source holds, read from its headers alone: no weight is touched, no numpy, no MLX."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, Literal

from converters.errors import SourceError

Kind = Literal["gguf", "safetensors"]


@dataclass(frozen=True, slots=True)
class Tensor:
    """One stored tensor. `shape` is as the file writes it: GGUF's innermost dimension comes first."""

    name: str
    type: str  # "Q4_K", "F16", "BF16", "F8_E4M3" …
    shape: tuple[int, ...]
    size: int  # bytes
    file: Path
    offset: int  # of the first byte, from the start of `file`


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """A model (or projector, or adapter) as its files describe it.

    `metadata` keeps the file's order; long arrays are sequences that read the file when indexed.
    For Safetensors it is the content of config.json.
    """

    kind: Kind
    architecture: str
    metadata: Mapping[str, Any]
    tensors: tuple[Tensor, ...]  # in file order
    file_type: str  # the quantisation's name as Ollama prints it: "Q4_K_M", "F16", "unknown"
    files: tuple[Path, ...]
    by_name: Mapping[str, Tensor] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {t.name: t for t in self.tensors})

    @property
    def parameter_count(self) -> int:
        return sum(prod(tensor.shape) for tensor in self.tensors)

    @property
    def size(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.size for tensor in self.tensors)

    @property
    def has_vision(self) -> bool:
        """Holds a vision tower of its own (a projector file, or Ollama's single-file models)."""
        return any(tensor.name.startswith(("v.", "mm.")) for tensor in self.tensors)


def read(paths: Sequence[Path] | Path) -> Inventory:
    """The inventory of one model's files: a GGUF, all parts of a split GGUF in any order, or the
    files of a Safetensors checkpoint (or its folder).

    Raises SourceError: `invalid GGUF: …`, a missing part, or a format that is neither.
    """
    files = [paths] if isinstance(paths, Path) else list(paths)
    if not files:
        raise SourceError("no source files")
    if is_gguf(files[0]):
        from converters.gguf import source as gguf_source

        return gguf_source.read(files)
    if not is_safetensors(files):
        raise SourceError("not a GGUF file or a safetensors checkpoint")
    from converters.safetensors import source as safetensors_source

    return safetensors_source.read(files)


def is_gguf(path: Path) -> bool:
    """By content, not by name: blobs have no suffix."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) in (b"GGUF", b"FUGG")


def is_safetensors(files: Iterable[Path]) -> bool:
    return any(path.is_dir() or path.suffix == ".safetensors" for path in files)
