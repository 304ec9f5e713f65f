"""Models in Ollama's MLX layout: each tensor or group in a small safetensors blob, and a config.json among the
files (internals 2.3, 2.15)."""

import os
import re
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from mlx_ollama.api.models import ShownTensor
from mlx_ollama.errors import NOT_JSON, CorruptData
from mlx_ollama.store.durable import open_regular, read_regular
from mlx_ollama.store.inspection import Inspection, chat_template_capabilities
from mlx_ollama.store.model import Model

MAX_HEADER = 4 << 20  # one tensor, or the projections of one group of experts
MAX_FILE = 64 << 20
_COMPANION = re.compile(r"(.+)\.(scale|bias|global_scale)")
_BITS = {"int4": 4, "int8": 8, "mxfp4": 4, "mxfp8": 8, "nvfp4": 4, "f32": 32}
_SUFFIXES = ("ForCausalLM", "ForConditionalGeneration")


class StoredTensor(NamedTuple):
    """A logical weight: `type` is its quantisation, or its dtype; `shape` is unpacked."""

    name: str
    type: str
    shape: tuple[int, ...]


def read_blob_header(path: Path) -> dict[str, Any]:
    """The JSON header of a tensor blob; `CorruptData`."""
    with os.fdopen(open_regular(path), "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        raw = file.read(min(length, MAX_HEADER + 1))
    if length > MAX_HEADER or len(raw) < length:
        raise CorruptData("model data is corrupted: bad tensor header")
    return _json_object(raw)


def _json_object(raw: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except NOT_JSON as error:
        raise CorruptData("model data is corrupted: bad JSON") from error


class _Entry(msgspec.Struct):
    dtype: str
    shape: list[int]


def blob_tensors(header: dict[str, Any]) -> list[StoredTensor]:
    """The logical weights of a blob: scales and zero points belong to the weight they are named after."""
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict):
        metadata = {}
    entries = {k: _entry(v) for k, v in header.items() if k != "__metadata__"}
    found: list[StoredTensor] = []
    for name, entry in entries.items():
        match = _COMPANION.fullmatch(name)
        if match and match[1] in entries:
            continue
        quantisation = metadata.get(f"{name}.quant_type") or metadata.get("quant_type")
        is_packed = bool(quantisation) and f"{name}.scale" in entries
        found.append(_stored(name, entry, quantisation if is_packed else None))
    return found


def _entry(value: Any) -> _Entry:
    try:
        entry = msgspec.convert(value, _Entry)
    except msgspec.ValidationError as error:
        raise CorruptData("model data is corrupted: bad tensor header") from error
    if any(n < 0 for n in entry.shape):
        raise CorruptData("model data is corrupted: bad tensor header")
    return entry


def _stored(name: str, entry: _Entry, quantisation: str | None) -> StoredTensor:
    shape = tuple(entry.shape)
    if quantisation is None or not shape:
        return StoredTensor(name, entry.dtype, shape)
    per_word = 32 // _BITS.get(quantisation.lower(), 8)
    return StoredTensor(name, quantisation, (*shape[:-1], shape[-1] * per_word))


def stored_tensors(model: Model) -> list[StoredTensor]:
    """Every logical weight of a model of tensor blobs, by name. Reads a header a blob."""
    found = [
        tensor for path in model.tensors.values() for tensor in blob_tensors(read_blob_header(path))
    ]
    return sorted(found)


def tensor_list(model: Model) -> list[ShownTensor]:
    return [
        ShownTensor(name=t.name, type=t.type, shape=list(t.shape)) for t in stored_tensors(model)
    ]


def read_config(model: Model) -> dict[str, Any]:
    """Its config.json; empty when it has none."""
    path = model.files.get("config.json")
    return _json_object(read_regular(path, MAX_FILE)) if path else {}


def inspect_tensors(model: Model) -> Inspection:
    """What the configuration and the headers say. Modalities are config's `capabilities`, not guessed here."""
    config = read_config(model)
    text = _text_config(config)
    tensors = stored_tensors(model)
    return Inspection(
        architecture=architecture_of(config),
        parameter_count=sum(prod(tensor.shape) for tensor in tensors),
        file_type=model.config.file_type or lowest_precision(tensors),
        context_length=_natural(text.get("max_position_embeddings")),
        embedding_length=_natural(text.get("hidden_size")),
        by_chat_template=chat_template_capabilities(read_chat_template(model)),
    )


def lowest_precision(tensors: list[StoredTensor]) -> str:
    """The type of the fewest bits among them."""
    kinds = {tensor.type for tensor in tensors}
    return min(kinds, key=lambda kind: (_BITS.get(kind.lower(), 16), kind), default="")


def read_chat_template(model: Model) -> str | None:
    """The Jinja template of its tokenizer's configuration."""
    path = model.files.get("tokenizer_config.json")
    return chat_template_of(_json_object(read_regular(path, MAX_FILE))) if path else None


def chat_template_of(settings: Mapping[str, Any]) -> str | None:
    """Of a tokenizer's settings: the one template, or of several the one called `default`."""
    template = settings.get("chat_template")
    if isinstance(template, list):
        named = [entry for entry in template if isinstance(entry, dict)]
        template = next((e.get("template") for e in named if e.get("name") == "default"), None)
    return template if isinstance(template, str) else None


def architecture_of(config: dict[str, Any]) -> str:
    """`model_type`, else the class name without its ending."""
    if isinstance(config.get("model_type"), str):
        return config["model_type"]
    classes = config.get("architectures")
    name = classes[0] if isinstance(classes, list) and classes else ""
    for suffix in _SUFFIXES:
        name = str(name).removesuffix(suffix)
    return name.lower()


def _text_config(config: dict[str, Any]) -> dict[str, Any]:
    """Where a model of several modalities keeps its language model's numbers."""
    inner = config.get("text_config")
    return {**config, **inner} if isinstance(inner, dict) else config


def tensor_info(model: Model, inspection: Inspection) -> dict[str, Any]:
    """`model_info` with the keys that a GGUF would have; only those known."""
    text = _text_config(read_config(model))
    prefix = inspection.architecture
    keys = {
        "context_length": "max_position_embeddings",
        "embedding_length": "hidden_size",
        "block_count": "num_hidden_layers",
        "attention.head_count": "num_attention_heads",
        "attention.head_count_kv": "num_key_value_heads",
        "feed_forward_length": "intermediate_size",
        "vocab_size": "vocab_size",
    }
    info = {f"{prefix}.{key}": _natural(text.get(source)) for key, source in keys.items()}
    known = {key: value for key, value in sorted(info.items()) if value}
    return {
        "general.architecture": prefix,
        "general.parameter_count": inspection.parameter_count,
        **known,
    }


def _natural(value: object) -> int:
    return value if type(value) is int and value > 0 else 0
