"""Safetensors files to named arrays; every header is checked before MLX sees the file.

`mx.load` accepts negative and fractional shapes, overlaps and holes, and hands them to kernels.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlx.core as mx

from converters.errors import SourceError
from converters.safetensors.reader import read_tensors


class InvalidWeights(ValueError):
    """A file that is not what safetensors allows; its text says how."""


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file whose header is sound. Raises InvalidWeights."""
    try:
        tensors, metadata = read_tensors(path)
    except SourceError as error:
        raise InvalidWeights(str(error)) from None
    if any(tensor.type == "F64" for tensor in tensors):  # MLX has none
        raise InvalidWeights("invalid safetensors: unknown dtype")
    return metadata


def load_file(path: Path) -> dict[str, mx.array]:
    """A checked safetensors file as lazy arrays."""
    read_metadata(path)
    return mx.load(str(path), format="safetensors")  # type: ignore[return-value]


def load_directory(path: Path) -> dict[str, mx.array]:
    """All `model*.safetensors` of a directory; links are not followed out of it."""
    files = sorted(path.glob("model*.safetensors"))
    if not files:
        raise InvalidWeights("model has no safetensors weights")
    weights: dict[str, mx.array] = {}
    for file in files:
        if file.is_symlink():
            raise InvalidWeights("symbolic links are not allowed")
        weights.update(load_file(file))
    return weights


# ---- Ollama's MLX layout

QUANT_TYPES = {
    "int4": ("affine", 4, 64), "int8": ("affine", 8, 64), "nvfp4": ("nvfp4", 4, 16),
    "mxfp4": ("mxfp4", 4, 32), "mxfp8": ("mxfp8", 8, 32),
    # Ollama never writes these; our imports of MLX's own directories do.
    "int2": ("affine", 2, 64), "int3": ("affine", 3, 64), "int5": ("affine", 5, 64), "int6": ("affine", 6, 64),
}  # fmt: skip


def load_blobs(blobs: Mapping[str, Path]) -> tuple[dict[str, mx.array], dict[str, Any]]:
    """Tensor blobs as (weights in mlx-lm's names, quantization by module path).

    A blob names companions `x.weight.scale`, `.bias` and `.global_scale`; mlx-lm says `x.scales`, `x.biases`.
    """
    weights: dict[str, mx.array] = {}
    quantization: dict[str, Any] = {}
    for path in blobs.values():
        metadata = read_metadata(path)
        arrays: dict[str, mx.array] = mx.load(str(path), format="safetensors")  # type: ignore[assignment]
        for name in arrays:
            if f"{name}.scale" in arrays:
                _add_quantized(name, arrays, metadata, weights, quantization)
            elif not name.endswith((".scale", ".bias", ".global_scale")) or _is_own(name, arrays):
                weights[name] = arrays[name]
    return weights, quantization


def _is_own(name: str, arrays: Mapping[str, mx.array]) -> bool:
    """Whether `x.bias` is a layer's bias rather than the companion of a quantised `x`."""
    return name.rpartition(".")[0] not in arrays


def _add_quantized(
    name: str,
    arrays: Mapping[str, mx.array],
    metadata: Mapping[str, str],
    weights: dict[str, mx.array],
    quantization: dict[str, Any],
) -> None:
    module = name.removesuffix(".weight")
    weights[f"{module}.weight"] = arrays[name]
    weights[f"{module}.scales"] = arrays[f"{name}.scale"]
    if f"{name}.bias" in arrays:
        weights[f"{module}.biases"] = arrays[f"{name}.bias"]
    if f"{name}.global_scale" in arrays:
        weights[f"{module}.global_scale"] = arrays[f"{name}.global_scale"]
    kind = metadata.get(f"{name}.quant_type", metadata.get("quant_type", ""))
    mode, bits, group_size = QUANT_TYPES.get(kind.lower(), ("affine", 8, 32))
    stated = metadata.get(f"{name}.group_size", metadata.get("group_size", ""))
    if stated.isdecimal():
        group_size = int(stated)
    quantization[module] = {"mode": mode, "bits": bits, "group_size": group_size}
