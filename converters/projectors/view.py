"""A tower's tensors and keys in one set of words, wherever they came from."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import isqrt
from typing import Any

from converters.gguf.cursor import invalid
from converters.inventory import Inventory, Tensor

PREFIXES = ("v.", "mm.")
Metadata = dict[str, Any]


def find(model: Inventory, projectors: tuple[Inventory, ...]) -> Inventory | None:
    """The view of the tower that a model has, in its own file or another; None without one."""
    if len(projectors) > 1:
        invalid("a model has one projector")
    for projector in projectors:
        return _ordered(projector)
    own = tuple(tensor for tensor in model.tensors if tensor.name.startswith(PREFIXES))
    translate = DIALECTS.get(model.architecture)
    if not own or translate is None:
        return None
    metadata, names = translate(model)
    tensors = tuple(renamed for t in own if (renamed := _renamed(t, names)) is not None)
    return _ordered(replace(model, architecture="clip", metadata=metadata, tensors=tensors))


def _renamed(tensor: Tensor, names: Mapping[str, str]) -> Tensor | None:
    for theirs, ours in names.items():
        found = re.match(theirs, tensor.name)
        if found:
            return replace(tensor, name=found.expand(ours) + tensor.name[found.end() :])
    return tensor if not tensor.name.startswith("v.head.") else None


def _ordered(view: Inventory) -> Inventory:
    """Blocks called as a text model's, and the two matrices of a feed-forward by what they do.

    Old files of LLaVA have `ffn_up` and `ffn_down` the other way round.
    """
    width = view.metadata.get("clip.vision.embedding_length")
    down = view.by_name.get("v.blk.0.ffn_down.weight")
    up = view.by_name.get("v.blk.0.ffn_up.weight")
    swapped = up is not None and down is not None and down.shape[0] == width != down.shape[-1]
    swap = {"ffn_up": "ffn_down", "ffn_down": "ffn_up"} if swapped else {}

    def named(tensor: Tensor) -> Tensor:
        block = re.fullmatch(r"v\.(blk\.\d+\.)(\w+)(.*)", tensor.name)
        if block is None:
            return tensor
        return replace(tensor, name=block[1] + swap.get(block[2], block[2]) + block[3])

    return replace(view, tensors=tuple(map(named, view.tensors)))


def _keys(model: Inventory) -> Metadata:
    before = f"{model.architecture}.vision."
    found = {
        f"clip.vision.{key.removeprefix(before)}": value
        for key, value in model.metadata.items()
        if key.startswith(before)
    }
    return {"general.architecture": "clip", "clip.has_vision_encoder": True, **found}


GEMMA3_NAMES = {
    r"v\.patch_embedding": "v.patch_embd",
    r"v\.position_embedding": "v.position_embd",
    r"v\.post_layernorm": "v.post_ln",
    r"v\.blk\.(\d+)\.layer_norm([12])": r"v.blk.\1.ln\2",
    r"v\.blk\.(\d+)\.attn_output": r"v.blk.\1.attn_out",
    r"v\.blk\.(\d+)\.mlp\.fc1": r"v.blk.\1.ffn_up",
    r"v\.blk\.(\d+)\.mlp\.fc2": r"v.blk.\1.ffn_down",
    r"mm\.mm_": "mm.",
}


def _gemma3(model: Inventory) -> tuple[Metadata, Mapping[str, str]]:
    """How many tokens an image becomes, rather than how many patches become one."""
    metadata = _keys(model) | {"clip.projector_type": "gemma3"}
    size, patch = (metadata.get(f"clip.vision.{key}", 0) for key in ("image_size", "patch_size"))
    tokens = model.metadata.get("gemma3.mm.tokens_per_image")
    if type(tokens) is int and tokens > 0 and type(size) is int and type(patch) is int and patch:
        metadata["clip.vision.projector.scale_factor"] = size // patch // isqrt(tokens)
    return metadata, GEMMA3_NAMES


QWEN25VL_NAMES = {
    r"v\.merger\.ln_q": "v.post_ln",
    r"v\.merger\.mlp\.": "mm.",
    r"v\.patch_embd_0\.weight": "v.patch_embd.weight",
    r"v\.patch_embd_1\.weight": "v.patch_embd.weight.1",
}


def _qwen25vl(model: Inventory) -> tuple[Metadata, Mapping[str, str]]:
    metadata = _keys(model) | {"clip.projector_type": "qwen2.5vl_merger"}
    up = model.by_name.get("v.blk.0.ffn_up.weight")
    if up is not None:
        metadata.setdefault("clip.vision.feed_forward_length", up.shape[-1])
    return metadata, QWEN25VL_NAMES


DIALECTS: Mapping[str, Callable[[Inventory], tuple[Metadata, Mapping[str, str]]]] = {
    "gemma3": _gemma3,
    "qwen25vl": _qwen25vl,
}
"""Architectures that Ollama writes with their tower in the same file."""
