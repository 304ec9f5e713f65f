"""OpenAI's MXFP4 of gpt-oss: `x_blocks` and `x_scales` of a stack of experts."""

import numpy as np

from converters.inventory import Tensor
from converters.prequantized.floats import is_weight, plain
from converters.prequantized.nvfp4 import words
from converters.safetensors.arrays import Array, read_array
from converters.safetensors.checkpoint import Checkpoint
from converters.weights import Packed, Packing, Step

PACKING = Packing(name="mxfp4", group_size=32)
BLOCKS, SCALES = "_blocks", "_scales"


def steps(checkpoint: Checkpoint) -> dict[str, Step]:
    tensors, found = checkpoint.tensors, dict[str, Step]()
    for name, tensor in tensors.items():
        stem = name.removesuffix(BLOCKS)
        scales = tensors.get(stem + SCALES)
        if stem != name and scales is not None:
            found[stem] = _step(stem, tensor, scales)
        elif is_weight(name) and name.removesuffix(SCALES) + BLOCKS not in tensors:
            found[name] = plain(tensor)
    return found


def _step(name: str, blocks: Tensor, scales: Tensor) -> Step:
    """blocks (experts, rows, groups, 16), scales (experts, rows, groups)."""

    def make() -> Packed:
        data = read_array(blocks).data
        flat = Array("U8", data.reshape(*data.shape[:-2], -1))
        return Packed(PACKING, words(flat), Array("U8", np.array(read_array(scales).data)))

    shape = (*blocks.shape[:-2], blocks.shape[-2] * 32)
    return Step(name=name, shape=shape, size=blocks.size, make=make, is_packed=True)
