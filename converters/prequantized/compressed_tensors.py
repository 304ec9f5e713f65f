"""compressed-tensors (vLLM, llm-compressor): packed and plain integers, FP8, NVFP4, MXFP4."""

from typing import Any

import numpy as np

from converters.errors import Unsupported
from converters.prequantized import fp8, mxfp4, nvfp4, settings_of
from converters.prequantized.companions import (
    Named,
    affine,
    companion,
    integers,
    with_companions,
)
from converters.safetensors.arrays import Array, read_array
from converters.safetensors.checkpoint import Checkpoint
from converters.weights import Packed, Step

LEAVES = (
    "weight", "weight_packed", "weight_scale", "weight_zero_point", "weight_global_scale", "weight_shape",
    "weight_g_idx", "input_global_scale", "input_scale",
)  # fmt: skip


def steps(checkpoint: Checkpoint) -> dict[str, Step]:
    settings = settings_of(checkpoint)
    form, weights = _form(settings)
    key = (
        "weight"
        if form in ("float-quantized", "int-quantized", "naive-quantized")
        else "weight_packed"
    )

    def build(name: str, parts: Named) -> Step:
        if form == "nvfp4-pack-quantized":
            scale = companion(name, parts, "weight_scale")
            whole = companion(name, parts, "weight_global_scale")
            return nvfp4.step(name, parts[key], scale, whole, lambda divisor: 1 / divisor)
        if form == "mxfp4-pack-quantized":
            return _mxfp4(name, parts)
        if parts[key].type == "F8_E4M3":
            return fp8.decoded(name, parts, (128, 128))
        return _integers(name, parts, key, weights)

    tensors = checkpoint.tensors
    if key == "weight":  # only modules with scales are quantised
        scaled = {n.rpartition(".")[0] for n in tensors if n.endswith(".weight_scale")}
        quantised = {n: t for n, t in tensors.items() if n.rpartition(".")[0] in scaled}
        others = {n: t for n, t in tensors.items() if n not in quantised}
        return with_companions(others, (), key, build) | with_companions(
            quantised, LEAVES, key, build
        )
    return with_companions(tensors, LEAVES[1:], key, build)


def _form(settings: Any) -> tuple[str, dict[str, Any]]:
    """The format of all groups, and the settings of their weights."""
    groups = settings.get("config_groups")
    found = list(groups.values()) if isinstance(groups, dict) else []
    forms = {group.get("format") or settings.get("format", "") for group in found}
    if len(forms) != 1:
        raise Unsupported("compressed-tensors with several formats are not supported yet")
    weights = found[0].get("weights") or {}
    form = forms.pop()
    if form in ("naive-quantized", "pack-quantized", "int-quantized", "float-quantized"):
        return form, weights
    if form in ("nvfp4-pack-quantized", "mxfp4-pack-quantized"):
        return form, weights
    raise Unsupported(f'compressed-tensors format "{form}" is not supported yet')


def _mxfp4(name: str, parts: Named) -> Step:
    packed, scale = parts["weight_packed"], companion(name, parts, "weight_scale")

    def make() -> Packed:
        return Packed(
            mxfp4.PACKING, nvfp4.words(read_array(packed)), Array("U8", read_array(scale).data)
        )

    shape = (*packed.shape[:-1], packed.shape[-1] * 2)
    return Step(name=name, shape=shape, size=packed.size, make=make, is_packed=True)


def _integers(name: str, parts: Named, key: str, weights: dict[str, Any]) -> Step:
    bits = weights.get("num_bits", 4)
    packed, scale = parts[key], companion(name, parts, "weight_scale")
    if "weight_g_idx" in parts:
        raise Unsupported("compressed-tensors with reordered groups are not supported yet")
    columns = packed.shape[1] * 32 // bits if packed.type == "I32" else packed.shape[1]

    def make() -> Packed:
        words = read_array(packed).data
        if packed.type == "I32":
            codes = integers(words, bits)
        else:
            codes = (words.astype(np.int16) + (1 << (bits - 1))).astype(np.uint8)
        scales = read_array(scale).floats().reshape(len(codes), -1)
        zeros = _zeros(parts, bits, scales.shape)
        group = columns // scales.shape[1]
        return affine(codes, scales, zeros, bits=bits, group_size=group)

    shape = (packed.shape[0], columns)
    return Step(name=name, shape=shape, size=packed.size, make=make, is_packed=True)


def _zeros(parts: Named, bits: int, shape: tuple[int, ...]) -> Any:
    """Of unsigned codes; symmetric ones have theirs in the middle."""
    middle = 1 << (bits - 1)
    tensor = parts.get("weight_zero_point")
    if tensor is None:
        return np.full(shape, middle, np.float32)
    stored = read_array(tensor).data
    if tensor.type == "I32":  # packed along the rows, unsigned like the codes
        columns = integers(np.ascontiguousarray(stored.T), bits)
        return columns.T[: shape[0]].astype(np.float32)
    return stored.astype(np.float32).reshape(shape) + middle
