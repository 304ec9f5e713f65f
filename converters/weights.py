"""One weight of a model on its way into tensor blobs: floats, or packed integers with their scales."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from converters.safetensors.arrays import Array


@dataclass(frozen=True, kw_only=True)
class Packing:
    """How MLX reads a packed weight. `name`: Ollama's word for it in a blob's metadata."""

    name: str  # int4, int8, mxfp4, mxfp8, nvfp4; for bits that Ollama never writes: int2, int3, int5, int6
    group_size: int

    @property
    def bits(self) -> int:
        return {"mxfp8": 8, "mxfp4": 4, "nvfp4": 4}.get(self.name) or int(self.name[3:])


class Packed(NamedTuple):
    """`weight` uint32 (…, columns · bits / 32); `scale`, `bias` (…, groups); `global_scale` one number."""

    packing: Packing
    weight: Array
    scale: Array
    bias: Array | None = None
    global_scale: Array | None = None


@dataclass(frozen=True, kw_only=True)
class Step:
    """A weight that can be made. `shape` is what the model sees; `size` about the bytes of its source."""

    name: str
    shape: tuple[int, ...]
    size: int
    make: Callable[[], Array | Packed]
    is_packed: bool = False
