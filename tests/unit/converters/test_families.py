"""Families whose tiny fixtures lie in tests/data/zoo: against transformers, and quantised against dense."""

import json
import lzma
from collections.abc import Callable
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, quants

from converters import convert as convert_module, inventory
from converters.architectures import SUPPORTED
from converters.convert import convert
from converters.inventory import Inventory, Tensor
from tests.conftest import DATA
from tests.unit.converters.running import answer, same_greedy, top_difference

ZOO = DATA / "zoo"
NAMES = sorted(path.name.removesuffix(".gguf.xz") for path in ZOO.glob("*.gguf.xz"))
ELSEWHERE = {  # test_encoders.py, test_projectors.py
    "bert",
    "gemma-embedding",
    "modern-bert",
    "nomic-bert",
    "qwen25vl",
    "qwen2vl",
}
SAME = {"gptoss"}  # gpt-oss in Ollama's words (test_dialect.py)


# llama.cpp's converter computed -exp(A_log) in float16 here, so these files are that far from their checkpoints.
ROUNDED_RECURRENCE = {"mamba2", "qwen3_5", "qwen3_5_moe", "qwen3_next"}


@pytest.fixture
def unpack(tmp_path: Path) -> Callable[[str], Path]:
    def unpacked(name: str) -> Path:
        path = tmp_path / f"{name}.gguf"
        path.write_bytes(lzma.decompress((ZOO / f"{name}.gguf.xz").read_bytes()))
        return path

    return unpacked


@pytest.mark.parametrize("name", NAMES)
def test_a_family_answers_as_transformers(
    name: str, unpack: Callable[[str], Path], tmp_path: Path
) -> None:
    golden = json.loads((ZOO / f"{name}.json").read_text())
    convert([unpack(name)], tmp_path / "out", dtype="f32")
    ours = answer(tmp_path / "out", golden["ids"], len(golden["greedy"]), dense=True)
    bound = 1e-3 if name in ROUNDED_RECURRENCE else 5e-5
    assert top_difference(ours.logits[-1], golden["last_logits"]) < bound
    assert np.argmax(ours.logits, axis=1).tolist() == golden["argmax_each_position"]
    assert same_greedy(ours.greedy, golden)


@pytest.mark.parametrize("name", NAMES)
def test_quantised_modules_compute_as_dense_ones(
    name: str, unpack: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows and columns that move must take their scales along."""
    quantised = quantise(inventory.read(unpack(name)), tmp_path / "blocks")
    monkeypatch.setattr(convert_module.inventory, "read", lambda _: quantised)
    convert([tmp_path / "blocks"], tmp_path / "out", dtype="f32")
    ids = json.loads((ZOO / f"{name}.json").read_text())["ids"]
    dense = answer(tmp_path / "out", ids, 4, dense=True)
    ours = answer(tmp_path / "out", ids, 4, dense=False)
    assert "quantization" in json.loads((tmp_path / "out" / "config.json").read_text())
    assert np.allclose(ours.logits, dense.logits, atol=1e-3)
    assert ours.greedy == dense.greedy


def quantise(model: Inventory, path: Path) -> Inventory:
    """The matrices that llama.cpp quantises, as Q8_0 (attention, embeddings) and Q4_0, in a file of blocks."""
    with path.open("wb") as file:
        tensors = [_quantised(tensor, file.tell(), path, file.write) for tensor in model.tensors]
    return replace(model, tensors=tuple(tensors))


def _quantised(tensor: Tensor, at: int, path: Path, write: Callable[[bytes], int]) -> Tensor:
    if (
        tensor.type != "F16"
        or len(tensor.shape) < 2
        or tensor.shape[0] % 32
        or "position" in tensor.name
    ):
        return tensor
    raw = tensor.file.read_bytes()[tensor.offset : tensor.offset + tensor.size]
    values = np.frombuffer(raw, "<f2").astype(np.float32).reshape(-1, tensor.shape[0])
    name = "Q8_0" if any(part in tensor.name for part in ("attn", "embd", "output")) else "Q4_0"
    blocks = quants.quantize(values, GGMLQuantizationType[name])
    write(blocks.tobytes())
    assert prod(blocks.shape) == blocks.nbytes
    return replace(tensor, type=name, size=blocks.nbytes, file=path, offset=at)


def test_nothing_is_supported_without_a_fixture(tmp_path: Path) -> None:
    found: set[str] = set()
    for name in NAMES:
        path = tmp_path / name
        path.write_bytes(lzma.decompress((ZOO / f"{name}.gguf.xz").read_bytes()))
        found.add(inventory.read(path).architecture)
    assert found | ELSEWHERE | SAME == SUPPORTED
