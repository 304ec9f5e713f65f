"""Every family and every quantisation against transformers in float32, dense and quantised as on a Mac."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from converters.convert import convert
from tests.unit.converters.running import answer, same_greedy, top_difference

FAMILIES = [
    "gemma2",
    "gemma3",
    "gpt_oss",
    "granite",
    "llama",
    "llama31",
    "mistral",
    "mixtral",
    "olmo2",
    "qwen2",
    "qwen3",
    "qwen3_moe",
]
QUANTISATIONS = [
    "IQ4_NL",
    "IQ4_XS",
    "Q2_K",
    "Q3_K_M",
    "Q4_0",
    "Q4_1",
    "Q4_K_M",
    "Q4_K_S",
    "Q5_0",
    "Q5_1",
    "Q5_K_M",
    "Q6_K",
    "Q8_0",
]
# llama.cpp's converter added 1 to these norms in float16, so the file itself is that far from the checkpoint
# (test_gemma_files_differ_from_their_checkpoints_by_their_norms).
ROUNDED_NORMS = {"gemma2": 3e-3, "gemma3": 3e-3}


@cache
def golden_quant(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_answers_as_its_checkpoint(family: str, shared: Path, tmp_path: Path) -> None:
    folder = shared / "zoo" / family
    golden = json.loads((folder / "golden.json").read_text())
    convert([folder / "model-f16.gguf"], tmp_path / "out", dtype="f32")
    ours = answer(tmp_path / "out", golden["ids"], len(golden["greedy"]), dense=True)
    difference = top_difference(ours.logits[-1], golden["last_logits"])
    assert difference < ROUNDED_NORMS.get(family, 1e-3)
    assert np.argmax(ours.logits, axis=1).tolist() == golden["argmax_each_position"]
    assert same_greedy(ours.greedy, golden)


@pytest.mark.parametrize("dense", [True, False], ids=["dense", "quantised"])
@pytest.mark.parametrize("name", QUANTISATIONS)
def test_a_quantisation_answers_as_its_file(
    name: str, dense: bool, shared: Path, tmp_path: Path
) -> None:
    folder = shared / "zoo" / "llama-256"
    golden = golden_quant(folder / "golden-quant.json")
    convert([folder / f"{name}.gguf"], tmp_path / "out", dtype="f32")
    wanted = golden["types"][name]
    ours = answer(tmp_path / "out", golden["ids"], len(wanted["greedy"]), dense=dense)
    assert top_difference(ours.logits[-1], wanted["last_logits"]) < 1e-3
    assert same_greedy(ours.greedy, wanted)


@pytest.mark.parametrize(("name", "bound"), [("Q6_K", 0.1), ("Q2_K", 0.6), ("Q4_K_M", 0.05)])
def test_a_requantised_file_stays_close(
    name: str, bound: float, shared: Path, tmp_path: Path
) -> None:
    """As a Mac runs them: 8 or 4 bits in place of what MLX lacks."""
    folder = shared / "zoo" / "llama-256"
    golden = golden_quant(folder / "golden-quant.json")
    convert([folder / f"{name}.gguf"], tmp_path / "out", dtype="f32", compact=True)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    ours = answer(tmp_path / "out", golden["ids"], 1, dense=False)
    assert config["quantization"]["bits"] in (4, 8)
    assert 1e-3 < top_difference(ours.logits[-1], golden["types"][name]["last_logits"]) < bound


@pytest.mark.parametrize("family", ["gemma2", "gemma3"])
def test_gemma_files_differ_from_their_checkpoints_by_their_norms(
    family: str, shared: Path, tmp_path: Path
) -> None:
    folder = shared / "zoo" / family
    golden = json.loads((folder / "golden.json").read_text())
    convert([folder / "model-f16.gguf"], tmp_path / "out", dtype="f32")
    weights = load_file(tmp_path / "out" / "model.safetensors")
    checkpoint = load_file(folder / "model.safetensors")
    norms = {n: checkpoint[n].astype(np.float32) for n in weights if n.endswith("norm.weight")}
    differences = [np.abs(weights[n] - norms[n]).max() for n in norms]
    assert 0 < max(differences) < 2**-10
    _overwrite(tmp_path / "out" / "model.safetensors", weights | norms)
    ours = answer(tmp_path / "out", golden["ids"], 1, dense=True)
    assert top_difference(ours.logits[-1], golden["last_logits"]) < 1e-4


def _overwrite(path: Path, weights: dict[str, Any]) -> None:
    from safetensors.numpy import save_file

    save_file(weights, path)
