"""NVIDIA ModelOpt: NVFP4 and FP8."""

from converters.prequantized import fp8, nvfp4
from converters.prequantized.companions import Named, companion, with_companions
from converters.safetensors.checkpoint import Checkpoint
from converters.weights import Step

LEAVES = ("weight", "weight_scale", "weight_scale_2", "input_scale")


def steps(checkpoint: Checkpoint) -> dict[str, Step]:
    return with_companions(checkpoint.tensors, LEAVES, "weight", _step)


def _step(name: str, parts: Named) -> Step:
    if parts["weight"].type != "U8":
        return fp8.decoded(name, parts, (128, 128))
    scale, whole = (companion(name, parts, leaf) for leaf in ("weight_scale", "weight_scale_2"))
    return nvfp4.step(name, parts["weight"], scale, whole, lambda factor: factor)
