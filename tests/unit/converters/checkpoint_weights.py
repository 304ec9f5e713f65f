"""The weights of the tiny checkpoints, made from the tensors' names: only names and shapes are stored.

Raw words of Philox, which numpy keeps stable, so the maker of the fixtures and the tests make the same.
"""

import json
import zlib
from math import prod, sqrt
from typing import Any

import numpy as np

Shapes = dict[str, tuple[int, ...]]
Weights = dict[str, np.ndarray[Any, Any]]


def made(name: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """float16 in the tensor's shape: matrices of variance 1 / columns, norms and gains around one."""
    words = np.random.Philox(key=zlib.crc32(name.encode())).random_raw(prod(shape))
    spread = (words >> np.uint64(11)) * 2.0**-53 * 2 - 1  # -1 … 1
    return _scaled(name, shape, spread).reshape(shape).astype(np.float16)


def _scaled(name: str, shape: tuple[int, ...], spread: Any) -> Any:
    leaf = name.rpartition(".")[2]
    if leaf == "A_log":
        return 1 + spread
    if len(shape) > 1 and "norm" not in name:
        return spread * sqrt(3 / shape[-1])
    is_gain = leaf in ("weight", "D", "layer_scalar", "per_dim_scale")
    return is_gain + 0.3 * spread


def safetensors(weights: Weights) -> bytes:
    """A file of float16 weights."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, array in weights.items():
        end = at + array.nbytes
        header[name] = {"dtype": "F16", "shape": array.shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(a.tobytes() for a in weights.values())
