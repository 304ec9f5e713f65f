"""A GGUF adapter lands where its tensors' weights land, in their order of rows, and must be what it says."""

from pathlib import Path
from typing import Any

import gguf
import mlx.core as mx
import numpy as np
import pytest

from converters import adapters
from converters.errors import SourceError
from converters.sinks import live
from mlx_ollama.engine.adapters import LowRank
from mlx_ollama.engine.loader import apply_adapter, load_stream
from tests.conftest import DATA

BASE = DATA / "zoo" / "llama" / "model-f16.gguf"
STEMS = ("blk.0.attn_q.weight", "blk.1.attn_k.weight", "blk.1.ffn_down.weight")
RANK, ALPHA = 4, 8.0


def base_weights() -> dict[str, np.ndarray[Any, Any]]:
    """As the GGUF has them, by another reader."""
    reader = gguf.GGUFReader(str(BASE))
    return {
        t.name: np.array(t.data, np.float32).reshape(tuple(reversed(t.shape.tolist())))
        for t in reader.tensors
    }


def write(path: Path, dtype: Any = np.float32, **changes: Any) -> dict[str, np.ndarray[Any, Any]]:
    """An adapter, and what it adds to each tensor of the GGUF."""
    metadata = {"general.type": "adapter", "adapter.type": "lora", **changes}
    writer = gguf.GGUFWriter(path, "llama")
    for key, value in metadata.items():
        writer.add_string(key, value)
    writer.add_float32("adapter.lora.alpha", ALPHA)
    generator, weights = np.random.default_rng(1), base_weights()
    added: dict[str, np.ndarray[Any, Any]] = {}
    for stem in STEMS:
        outputs, inputs = weights[stem].shape
        a = generator.normal(size=(RANK, inputs)).astype(dtype)
        b = generator.normal(size=(outputs, RANK)).astype(dtype)
        writer.add_tensor(f"{stem}.lora_a", a)
        writer.add_tensor(f"{stem}.lora_b", b)
        added[stem] = ALPHA / RANK * b.astype(np.float32) @ a.astype(np.float32)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return added


def merged(path: Path, added: dict[str, np.ndarray[Any, Any]]) -> None:
    """The base with what an adapter adds, as one GGUF."""
    reader = gguf.GGUFReader(str(BASE))
    content = bytearray(BASE.read_bytes())
    for tensor in reader.tensors:
        if tensor.name in added:
            shape = tuple(reversed(tensor.shape.tolist()))
            whole = np.array(tensor.data, np.float32).reshape(shape) + added[tensor.name]
            raw = whole.astype(np.float16).tobytes()
            content[tensor.data_offset : tensor.data_offset + len(raw)] = raw
    path.write_bytes(content)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_adapted_model_is_the_one_with_the_sum_in_its_gguf(tmp_path: Path, dtype: Any) -> None:
    added = write(tmp_path / "adapter.gguf", dtype)
    merged(tmp_path / "merged.gguf", added)
    base, whole = live([BASE]), live([tmp_path / "merged.gguf"])
    loaded = load_stream(base.config, base.weights)
    tokens = mx.array([[3, 4, 5, 6]])
    plain = loaded.model(tokens)
    parts = {
        part.module: LowRank(down=mx.array(part.down), up=mx.array(part.up), scale=part.scale)
        for part in adapters.read(tmp_path / "adapter.gguf", loaded.config)
    }
    apply_adapter(loaded, parts)
    wanted = load_stream(whole.config, whole.weights).model(tokens)
    assert mx.allclose(loaded.model(tokens), wanted, atol=2e-2)
    assert not mx.allclose(plain, wanted, atol=0.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"general.type": "model"}, "not a LoRA adapter"),
        ({"adapter.type": "control vector"}, "not a LoRA adapter"),
        ({"general.architecture": "unheard"}, "not supported yet"),
    ],
)
def test_what_is_no_adapter_is_refused(
    tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    if "general.architecture" in changes:
        writer_path = tmp_path / "adapter.gguf"
        write(writer_path)
        content = writer_path.read_bytes().replace(
            b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0llamo"
        )
        writer_path.write_bytes(content)
    else:
        write(tmp_path / "adapter.gguf", **changes)
    with pytest.raises(SourceError, match=message):
        list(adapters.read(tmp_path / "adapter.gguf", {"num_attention_heads": 4}))
