"""Weights that are floats already, passed on bit for bit; and which tensors are no weights."""

import re

from converters.errors import Unsupported
from converters.inventory import Tensor
from converters.safetensors.arrays import FLOATS, Array, as_stored, read_array
from converters.safetensors.checkpoint import Checkpoint
from converters.weights import Step

# Buffers that old checkpoints carry, and what only inference on other hardware wants.
_NO_WEIGHT = re.compile(
    r"position_ids$|rotary_emb\.inv_freq$|\.masked_bias$|\.attn\.bias$|input_scale$|[kvq]_scale$"
    r"|input_global_scale$|activation_scale$|num_batches_tracked$"
)


def is_weight(name: str) -> bool:
    return not _NO_WEIGHT.search(name)


def steps(checkpoint: Checkpoint) -> dict[str, Step]:
    return {t.name: plain(t) for t in checkpoint.tensors.values() if is_weight(t.name)}


def plain(tensor: Tensor) -> Step:
    """The tensor as it is; float64 as float32."""
    if tensor.type not in (*FLOATS, "F64"):
        raise Unsupported(f'tensor "{tensor.name}" has type {tensor.type}, which is not supported')

    def make() -> Array:
        array = read_array(tensor)
        return as_stored(array.data, "F32") if array.dtype == "F64" else array

    return Step(name=tensor.name, shape=tensor.shape, size=tensor.size, make=make)
