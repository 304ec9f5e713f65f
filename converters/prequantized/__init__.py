"""Checkpoints that are quantised already: one file a format, each with `steps(checkpoint) -> {name: Step}`.

What MLX can hold exactly stays packed; the rest (FP8, reordered groups) is decoded to bfloat16.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from converters.errors import Unsupported
from converters.safetensors.checkpoint import Checkpoint
from converters.weights import Step

# `quant_method` of a config's `quantization_config` to the module here.
METHODS = {
    "awq": "awq",
    "compressed-tensors": "compressed_tensors",
    "fp8": "fp8",
    "gptq": "gptq",
    "modelopt": "modelopt",
    "mxfp4": "mxfp4",
}


def settings_of(checkpoint: Checkpoint) -> Mapping[str, Any]:
    """The `quantization_config`, wherever the checkpoint keeps it; empty when it has none."""
    config = checkpoint.config
    nested = config.get("text_config")
    inner = nested.get("quantization_config") if isinstance(nested, dict) else None
    found = config.get("quantization_config") or inner
    if found is None and "hf_quant_config.json" in checkpoint.files:
        found = {"quant_method": "modelopt", **checkpoint.json("hf_quant_config.json")}
    return found if isinstance(found, dict) else {}


def method(checkpoint: Checkpoint) -> str:
    """The format's name: `mlx`, a key of METHODS, or "" for floats. Raises Unsupported."""
    mlx = checkpoint.config.get("quantization")
    if isinstance(mlx, dict) and any(name.endswith(".scales") for name in checkpoint.tensors):
        return "mlx"
    settings = settings_of(checkpoint)
    name = str(settings.get("quant_method", "modelopt" if settings.get("quant_algo") else ""))
    if settings and name not in METHODS:
        raise Unsupported(f'quantization method "{name}" is not supported yet')
    return name


def steps(checkpoint: Checkpoint) -> dict[str, Step]:
    """Every weight of the checkpoint. Raises SourceError."""
    chosen = method(checkpoint)
    module = import_module(f"converters.prequantized.{METHODS.get(chosen, chosen) or 'floats'}")
    make: Callable[[Checkpoint], dict[str, Step]] = module.steps
    return make(checkpoint)
