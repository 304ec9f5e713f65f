"""Safetensors files to named arrays; every header is checked before MLX sees the file.

`mx.load` accepts negative and fractional shapes, overlaps and holes, and hands them to kernels.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlx.core as mx

MAX_HEADER = 100 << 20
MAX_TENSORS = 65_536
MAX_DIMENSIONS = 8
WIDTHS = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1,
    "U16": 2, "I16": 2, "F16": 2, "BF16": 2, "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8,
}  # fmt: skip


class InvalidWeights(ValueError):
    """A file that is not what safetensors allows; its text says how."""


def read_header(path: Path) -> dict[str, Any]:
    """The checked header of a safetensors file. Raises InvalidWeights."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or not 2 <= length <= min(size - 8, MAX_HEADER):
            raise InvalidWeights("invalid safetensors: header length")
        raw = file.read(length)
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError):
        raise InvalidWeights("invalid safetensors: header is not json") from None
    _check_header(header, size - 8 - length)
    return header


def _check_header(header: Any, data_bytes: int) -> None:
    if not isinstance(header, dict) or len(header) > MAX_TENSORS + 1:
        raise InvalidWeights("invalid safetensors: header is not an object of tensors")
    spans = sorted(_span(name, e) for name, e in header.items() if name != "__metadata__")
    end = 0
    for start, stop in spans:
        if start != end:
            raise InvalidWeights("invalid safetensors: tensors overlap or leave holes")
        end = stop
    if end != data_bytes:
        raise InvalidWeights("invalid safetensors: data does not end with the last tensor")


def _span(name: str, entry: Any) -> tuple[int, int]:
    """Where a tensor's bytes begin and end, after its dtype and shape were found to agree."""
    if not isinstance(entry, dict):
        raise InvalidWeights("invalid safetensors: a tensor is not an object")
    width = WIDTHS.get(str(entry.get("dtype")))
    if width is None:
        raise InvalidWeights("invalid safetensors: unknown dtype")
    shape = _naturals(entry.get("shape"), "shape")
    offsets = _naturals(entry.get("data_offsets"), "offsets")
    if len(shape) > MAX_DIMENSIONS or len(offsets) != 2:
        raise InvalidWeights("invalid safetensors: too many dimensions or offsets")
    for dimension in shape:
        width *= dimension
    if offsets[1] - offsets[0] != width:
        raise InvalidWeights("invalid safetensors: size does not match shape")
    return offsets[0], offsets[1]


def _naturals(value: Any, what: str) -> list[int]:
    if isinstance(value, list) and all(type(n) is int and 0 <= n < 1 << 48 for n in value):
        return value
    raise InvalidWeights(f"invalid safetensors: bad {what}")


def load_file(path: Path) -> dict[str, mx.array]:
    """A checked safetensors file as lazy arrays."""
    read_header(path)
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
        metadata = read_header(path).get("__metadata__") or {}
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
