"""MLX's own directories (mlx-community): copied as they are, under the names that tensor blobs use."""

from typing import Any

from converters.errors import Unsupported
from converters.inventory import Tensor
from converters.prequantized.companions import Named, companion, with_companions
from converters.safetensors.arrays import read_array
from converters.safetensors.checkpoint import Checkpoint
from converters.weights import Packed, Packing, Step

LEAVES = ("weight", "scales", "biases")
BITS = (2, 3, 4, 5, 6, 8)
MODES = ("mxfp4", "mxfp8", "nvfp4")


def steps(checkpoint: Checkpoint) -> dict[str, Step]:
    settings = checkpoint.config["quantization"]
    scaled = {n.removesuffix(".scales") for n in checkpoint.tensors if n.endswith(".scales")}
    quantised = {n: t for n, t in checkpoint.tensors.items() if n.rpartition(".")[0] in scaled}
    others = {n: t for n, t in checkpoint.tensors.items() if n not in quantised}
    found = with_companions(others, (), "", _never)
    packed = with_companions(
        quantised, LEAVES, "scales", lambda name, parts: _step(name, parts, settings)
    )
    return found | packed


def _never(name: str, parts: Named) -> Step:
    raise AssertionError(name)


def _step(name: str, parts: Named, settings: dict[str, Any]) -> Step:
    weight, scales = companion(name, parts, "weight"), parts["scales"]
    packing = _packing(name.removesuffix(".weight"), settings)
    columns = weight.shape[-1] * 32 // packing.bits
    biases: Tensor | None = parts.get("biases")

    def make() -> Packed:
        bias = read_array(biases) if biases is not None else None
        return Packed(packing, read_array(weight), read_array(scales), bias)

    shape = (*weight.shape[:-1], columns)
    return Step(name=name, shape=shape, size=weight.size, make=make, is_packed=True)


def _packing(module: str, settings: dict[str, Any]) -> Packing:
    """The module's own settings, else those of all."""
    own = settings.get(module)
    chosen = own if isinstance(own, dict) else settings
    mode = chosen.get("mode", "affine")
    if mode in MODES:
        return Packing(
            name=mode, group_size=chosen.get("group_size", 16 if mode == "nvfp4" else 32)
        )
    bits, group = chosen.get("bits", 4), chosen.get("group_size", 64)
    if mode != "affine" or bits not in BITS or group not in (32, 64, 128):
        raise Unsupported(
            f"MLX quantization {mode}, {bits} bits, groups of {group} is not supported"
        )
    return Packing(name=f"int{bits}", group_size=group)
