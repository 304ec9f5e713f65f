"""Qwen2.5-VL: q, k and v apart where the tower has them in one, and its kernel in two slices of time."""

from dataclasses import replace

import numpy as np

from converters.architectures.family import Array, Config, Family, Names, Rule, Source
from converters.gguf.cursor import invalid
from converters.inventory import Inventory, Tensor
from converters.projectors.projector import Projector, Words

SLICES = ("v.patch_embd.weight", "v.patch_embd.weight.1")
WINDOW = 112  # no key says it
CHANNELS, FRAMES = 3, 2


def frames_inside(config: Config, rows: int) -> Array:
    """(frame, kernel, channel) to (kernel, channel, frame)."""
    if rows % (CHANNELS * FRAMES):
        invalid("the two slices of the patch kernel differ")
    return np.arange(rows).reshape(FRAMES, -1).T.reshape(-1)


def kernels(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Rows of one channel and frame each to whole kernels."""
    return shape[0] // (CHANNELS * FRAMES), shape[1] * CHANNELS * FRAMES


def vector(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A bias again, where it was made a matrix."""
    return shape[:1] if shape[-1] == 1 else shape


def prepare(view: Inventory) -> Inventory:
    """Shapes that lie one below another: kernels as rows, biases as columns."""
    return replace(view, tensors=tuple(map(_prepared, view.tensors)))


def _prepared(tensor: Tensor) -> Tensor:
    if tensor.name in SLICES:
        if len(tensor.shape) != 4 or tensor.shape[2] != CHANNELS:
            invalid(f'tensor "{tensor.name}" is no kernel')
        columns, rows, channels, width = tensor.shape
        place = SLICES.index(tensor.name)
        name, shape = f"v.patch_embd_{place}.weight", (columns * rows, channels * width)
        return replace(tensor, name=name, shape=shape)
    if tensor.name.endswith(("attn_q.bias", "attn_k.bias", "attn_v.bias")):
        return replace(tensor, shape=(1, *tensor.shape))
    return tensor


BLOCKS: Names = {
    **{
        f"attn_{part}": Rule(to="attn.qkv", place=place, shape=vector)
        for place, part in enumerate("qkv")
    },
    "attn_out": "attn.proj",
    "ln1": "norm1",
    "ln2": "norm2",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
SLICE = Rule(to="visual.patch_embed.proj", rows=frames_inside, shape=kernels)


def configure(source: Source) -> Config:
    h = source.h
    count = source.num_layers
    return {
        "num_hidden_layers": count,
        "depth": count,
        "hidden_size": h.count("embedding_length"),
        "intermediate_size": h.count("feed_forward_length"),
        "num_heads": h.count("attention.head_count", maximum=4096),
        "out_hidden_size": source.rows("mm.2.weight"),
        "patch_size": h.count("patch_size", maximum=1024),
        "spatial_merge_size": h.count("spatial_merge_size", 2, maximum=16),
        "temporal_patch_size": FRAMES,
        "window_size": h.count("window_size", WINDOW),
        "fullatt_block_indexes": _full(source),
        "hidden_act": "silu",
    }


def _full(source: Source) -> list[int]:
    """The blocks that see the whole picture: each, or every p-th."""
    stated = source.h.raw("fullatt_block_indexes")
    if stated is not None:
        is_list = not isinstance(stated, str | int | float)
        if not is_list or not all(type(index) is int for index in stated):
            invalid('key "vision.fullatt_block_indexes" is out of range')
        return list(stated)
    period = source.h.count("n_wa_pattern", 8, maximum=1024)
    return [index for index in range(source.num_layers) if (index + 1) % period == 0]


def beside(source: Source, words: Words) -> Config:
    return {
        "image_token_id": words.find("<|image_pad|>"),
        "vision_start_token_id": words.find("<|vision_start|>"),
        "vision_end_token_id": words.find("<|vision_end|>"),
    }


PROJECTOR = Projector(
    model_type="qwen2_5_vl",
    architectures=frozenset({"qwen2vl", "qwen25vl"}),
    configure=beside,
    prepare=prepare,
    family=Family(
        configure=configure,
        blocks=BLOCKS,
        layers="visual.blocks",
        outer={
            "v.patch_embd_0": SLICE,
            "v.patch_embd_1": replace(SLICE, place=1),
            "v.post_ln": "visual.merger.ln_q",
            "mm.0": "visual.merger.mlp.0",
            "mm.2": "visual.merger.mlp.2",
        },
    ),
)
