"""GGUF files of a few hundred bytes."""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

LLAMA: Mapping[str, Any] = {
    "general.architecture": "llama",
    "general.name": "tiny",
    "general.file_type": 1,
    "llama.context_length": 512,
    "llama.embedding_length": 32,
    "llama.block_count": 1,
    "tokenizer.ggml.tokens": ["<s>", "a", "b"],
}
F32, F16 = 0, 1
_WIDTH = {F32: 4, F16: 2}
TENSORS: Mapping[str, tuple[int, tuple[int, ...]]] = {
    "token_embd.weight": (F16, (32, 3)),
    "blk.0.attn_q.weight": (F16, (32, 32)),
    "blk.0.attn_k.weight": (F16, (32, 32)),
    "output_norm.weight": (F32, (32,)),
}


def gguf(
    metadata: Mapping[str, Any] = LLAMA,
    tensors: Mapping[str, tuple[int, tuple[int, ...]]] = TENSORS,
    alignment: int = 32,
) -> bytes:
    """A GGUF with those keys and tensors (type, shape), in that order; data counts up."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    head += b"".join(_text(key) + _value(value) for key, value in metadata.items())
    data = b""
    for name, (kind, shape) in tensors.items():
        data += bytes(-len(data) % alignment)
        head += _text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        head += struct.pack("<IQ", kind, len(data))
        data += _numbers(kind, shape)
    return head + bytes(-len(head) % alignment) + data


def _numbers(kind: int, shape: Sequence[int]) -> bytes:
    count = _WIDTH[kind]
    for length in shape:
        count *= length
    return bytes(index % 251 for index in range(count))


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _value(value: Any) -> bytes:
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(_text, value))
