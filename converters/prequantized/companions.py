"""What the formats share: weights with companions named after them, and integers with zero points as affine codes."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.errors import InvalidSource, Unsupported
from converters.inventory import Tensor
from converters.prequantized.floats import is_weight, plain
from converters.quantize.affine import pack
from converters.safetensors.arrays import Array
from converters.weights import Packed, Packing, Step

GROUPS = (128, 64, 32)

Named = Mapping[str, Tensor]
"""A weight's own tensors by what follows its module's name: "weight_packed", "weight_scale" …"""


def with_companions(
    tensors: Named, leaves: Iterable[str], key: str, build: Callable[[str, Named], Step]
) -> dict[str, Step]:
    """A step for each module that has `key` among its tensors; all others are floats."""
    known = tuple(leaves)
    modules: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        module, _, leaf = name.rpartition(".")
        if leaf in known:
            modules.setdefault(module, {})[leaf] = tensor
    packed = {m: parts for m, parts in modules.items() if key in parts}
    found: dict[str, Step] = {}
    for name, tensor in tensors.items():
        module, _, leaf = name.rpartition(".")
        if module in packed and leaf in known:
            if leaf == key:
                found[f"{module}.weight"] = build(f"{module}.weight", packed[module])
        elif is_weight(name):
            found[name] = plain(tensor)
    return found


def companion(name: str, parts: Named, leaf: str) -> Tensor:
    if leaf not in parts:
        raise InvalidSource(f'tensor "{name}" has no {leaf}')
    return parts[leaf]


def affine(
    codes: NDArray[np.uint8],
    scale: NDArray[np.float32],
    zero: NDArray[np.float32],
    *,
    bits: int,
    group_size: int,
) -> Packed:
    """codes (rows, columns), scale and zero (rows, groups): w = scale · (code - zero), exactly.

    Groups that MLX lacks are cut into smaller ones. Scales are float16 where that loses nothing.
    """
    own = next((g for g in GROUPS if group_size % g == 0 and codes.shape[1] % g == 0), None)
    if own is None:
        raise Unsupported(f"groups of {group_size} are not supported")
    repeat = group_size // own
    scale, zero = (np.repeat(part, repeat, axis=1) for part in (scale, zero))
    bias = -scale * zero
    return Packed(
        packing=Packing(name=f"int{bits}", group_size=own),
        weight=Array("U32", pack(codes, bits)),
        scale=_small(scale, scale, bias),
        bias=_small(bias, scale, bias),
    )


def _small(values: NDArray[np.float32], *all_of: NDArray[np.float32]) -> Array:
    with np.errstate(over="ignore"):
        exact = all(np.array_equal(v.astype(np.float16).astype(np.float32), v) for v in all_of)
    return Array("F16", values.astype(np.float16)) if exact else Array("F32", values)


def nibbles(words: NDArray[Any], order: tuple[int, ...] = tuple(range(8))) -> NDArray[np.uint8]:
    """(rows, n) 32-bit words to (rows, 8 n) codes of 4 bits; `order`: which nibble is each next code."""
    shifts = np.array(order, np.uint32) * 4
    codes = (words.view(np.uint32)[..., None] >> shifts) & 15
    return codes.astype(np.uint8).reshape(len(words), -1)


def integers(words: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """(rows, n) 32-bit words to codes of 4 or 8 bits, lowest first."""
    if bits == 4:
        return nibbles(words)
    if bits == 8:
        return np.ascontiguousarray(words).view(np.uint8).reshape(len(words), -1)
    raise Unsupported(f"{bits}-bit weights of this format are not supported yet")
