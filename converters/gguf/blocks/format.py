"""What a block format becomes, and the arrays it becomes it in."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Quantization:
    """MLX's own: value = scale · code + bias in groups of a row (affine), or its 4-bit float modes."""

    bits: int
    group_size: int
    mode: str = "affine"

    @property
    def has_biases(self) -> bool:
        return self.mode == "affine"

    def as_config(self) -> dict[str, Any]:
        config: dict[str, Any] = {"group_size": self.group_size, "bits": self.bits}
        return config if self.mode == "affine" else config | {"mode": self.mode}


class Packed(NamedTuple):
    """`codes`: MLX's bit stream as bytes, values in row order. `scales` and `biases`: one a group,
    float32 of exact values (uint8 and None in the 4-bit float modes). First axis: blocks."""

    codes: Bytes
    scales: NDArray[Any]
    biases: Floats | None


Rounding = Callable[[Floats], Floats]
"""float32 values to the nearest that the stored dtype holds: scales are rounded before codes are chosen."""

Repack = Callable[[Bytes, Rounding], Packed]
"""uint8 [blocks, block bytes] to MLX's layout."""


ValuesOf = Callable[[Bytes], Floats]
"""uint8 [blocks, block bytes] to float32 [blocks, values]."""


@dataclass(frozen=True, slots=True)
class Format:
    """A ggml type. Repacking is exact (but for the rounding of scales) unless `values` is there: then it is
    a requantisation of those values."""

    repack: Repack
    becomes: Quantization
    values: ValuesOf | None = None

    @property
    def is_exact(self) -> bool:
        return self.values is None


def half(raw: Bytes) -> Floats:
    """float16 bytes [n, 2k] → float32 [n, k]."""
    return np.ascontiguousarray(raw).view("<f2").astype(np.float32)
