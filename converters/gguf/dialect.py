"""Ollama's own dialect of GGUF, put into llama.cpp's words before anything else looks.

Ollama's converter wrote some files with names and keys of its own (its llama/compat lists them). Only what the
families here need; an inventory is never changed for what is shown of it, only for what is planned.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from converters.inventory import Inventory, Tensor

Metadata = dict[str, Any]


def normalised(inventory: Inventory) -> Inventory:
    """The same inventory in llama.cpp's words; itself when it already is."""
    change = CHANGES.get(inventory.architecture)
    return change(inventory) if change else inventory


def _rename(inventory: Inventory, names: Mapping[str, str]) -> tuple[Tensor, ...]:
    """Tensors whose name after `blk.N.` is in `names` get the other one."""

    def renamed(tensor: Tensor) -> Tensor:
        block = re.fullmatch(r"(blk\.\d+\.)(.+)", tensor.name)
        if block and block[2] in names:
            return replace(tensor, name=block[1] + names[block[2]])
        return tensor

    return tuple(renamed(tensor) for tensor in inventory.tensors)


def _without_vision(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """A vision tower in the same file is the engine's business."""
    return tuple(t for t in tensors if not t.name.startswith(("v.", "mm.")))


GPT_OSS_NAMES = {
    "attn_out.weight": "attn_output.weight",
    "attn_out.bias": "attn_output.bias",
    "attn_sinks": "attn_sinks.weight",
    "ffn_norm.weight": "post_attention_norm.weight",
}


def _gpt_oss(inventory: Inventory) -> Inventory:
    """`gptoss`: other tensor names, keys under another architecture, scaling left unsaid."""
    keys = {k.replace("gptoss.", "gpt-oss.", 1): v for k, v in inventory.metadata.items()}
    keys["general.architecture"] = "gpt-oss"
    if inventory.architecture == "gptoss" or "tokenizer.ggml.pre" not in keys:
        keys["tokenizer.ggml.pre"] = "gpt-4o"
    if "gpt-oss.rope.scaling.factor" in keys:
        keys.setdefault("gpt-oss.rope.scaling.type", "yarn")
        keys.setdefault("gpt-oss.rope.scaling.original_context_length", 4096)
    if "gpt-oss.expert_feed_forward_length" not in keys and "gpt-oss.feed_forward_length" in keys:
        keys["gpt-oss.expert_feed_forward_length"] = keys["gpt-oss.feed_forward_length"]
    return replace(
        inventory,
        architecture="gpt-oss",
        metadata=keys,
        tensors=_rename(inventory, GPT_OSS_NAMES),
    )


LONG_GEMMA_CONTEXT = 131072
LINEAR_FACTOR = 8.0


def _gemma3(inventory: Inventory) -> Inventory:
    """Rope bases under other keys, no scaling where the larger models have it, more tokens than rows."""
    keys: Metadata = dict(inventory.metadata)
    for theirs, ours in (
        ("rope.global.freq_base", "rope.freq_base"),
        ("rope.local.freq_base", "rope.freq_base_swa"),
    ):
        if f"gemma3.{theirs}" in keys:
            keys[f"gemma3.{ours}"] = keys.pop(f"gemma3.{theirs}")
            _mark_ollama(keys)
    if keys.pop(_MARK, False) or "gemma3.attention.layer_norm_rms_epsilon" not in keys:
        keys.setdefault("gemma3.attention.layer_norm_rms_epsilon", 1e-6)
        context = keys.get("gemma3.context_length", 0)
        if isinstance(context, int) and context >= LONG_GEMMA_CONTEXT:
            keys.setdefault("gemma3.rope.scaling.type", "linear")
            keys.setdefault("gemma3.rope.scaling.factor", LINEAR_FACTOR)
    _cut_tokens(keys, inventory)
    return replace(inventory, metadata=keys, tensors=_without_vision(inventory.tensors))


def _qwen25vl(inventory: Inventory) -> Inventory:
    """`qwen25vl`: sections of rotary positions under another key."""
    keys = {k.replace("qwen25vl.", "qwen2vl.", 1): v for k, v in inventory.metadata.items()}
    keys["general.architecture"] = "qwen2vl"
    sections = keys.pop("qwen2vl.rope.mrope_section", None)
    if sections is not None:
        keys["qwen2vl.rope.dimension_sections"] = sections
    tensors = _without_vision(inventory.tensors)
    return replace(inventory, architecture="qwen2vl", metadata=keys, tensors=tensors)


def _gemma3_or_embedding(inventory: Inventory) -> Inventory:
    """EmbeddingGemma is called gemma3 too."""
    return (_embedding_gemma if "gemma3.pooling_type" in inventory.metadata else _gemma3)(inventory)


DENSE = {"dense.0.weight": "dense_2.weight", "dense.1.weight": "dense_3.weight"}


def _embedding_gemma(inventory: Inventory) -> Inventory:
    found = _gemma3(inventory)
    keys = {k.replace("gemma3.", "gemma-embedding.", 1): v for k, v in found.metadata.items()}
    keys["general.architecture"] = "gemma-embedding"
    tensors = tuple(replace(t, name=DENSE.get(t.name, t.name)) for t in found.tensors)
    return replace(found, architecture="gemma-embedding", metadata=keys, tensors=tensors)


_MARK = " ollama"


def _mark_ollama(keys: Metadata) -> None:
    keys[_MARK] = True


def _cut_tokens(keys: Metadata, inventory: Inventory) -> None:
    """Tokens without an embedding row can be neither read nor written."""
    rows = inventory.by_name.get("token_embd.weight")
    if rows is None or len(rows.shape) != 2:
        return
    for name in ("tokens", "scores", "token_type"):
        key = f"tokenizer.ggml.{name}"
        values = keys.get(key)
        if values is not None and not isinstance(values, str) and len(values) > rows.shape[1]:
            keys[key] = values[: rows.shape[1]]


CHANGES: dict[str, Callable[[Inventory], Inventory]] = {
    "gptoss": _gpt_oss,
    "gpt-oss": _gpt_oss,
    "gemma3": _gemma3_or_embedding,
    "qwen25vl": _qwen25vl,
}
