"""Whole checkpoints to tensor blobs and back into a model: logits, names, what is refused."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from converters.checkpoints import FAMILIES
from converters.errors import SourceError
from converters.importing import import_model
from converters.safetensors.checkpoint import files_of
from mlx_ollama.engine import loader, mlx_models
from mlx_ollama.engine.encoders import FAMILIES as ENCODERS
from tests.conftest import SHARED

ZOO = sorted(path.parent for path in (SHARED / "zoo").glob("*/golden.json"))
NAMES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


def source(folder: Path) -> dict[str, Path]:
    return {name: path for name, path in files_of(folder).items() if name in NAMES}


def layers(out: Path) -> dict[str, Any]:
    return json.loads((out / "layers.json").read_text())


def load(out: Path, dense: bool | None = None) -> loader.LoadedModel:
    paths: dict[str, dict[str, Path]] = {"tensor": {}, "json": {}}
    for layer in layers(out)["layers"]:
        kind = layer["media_type"].rpartition(".")[2]
        paths[kind][layer["name"]] = out / layer["digest"].replace(":", "-")
    return loader.load_tensors(paths["tensor"], paths["json"], dense=dense)


def logits(model: loader.LoadedModel, ids: list[int]) -> np.ndarray[Any, Any]:
    inner: Any = model.model
    caches = mlx_models.new_caches(model.model)
    return np.array(inner(mx.array([ids]), cache=caches)[0].astype(mx.float32))


@pytest.mark.skipif(not ZOO, reason="no shared fixtures beside this checkout")
@pytest.mark.parametrize("folder", ZOO, ids=lambda path: path.name)
def test_checkpoints_answer_as_transformers(folder: Path, tmp_path: Path) -> None:
    import_model(source(folder), tmp_path / "out")
    golden = json.loads((folder / "golden.json").read_text())
    got = logits(load(tmp_path / "out"), golden["ids"])
    assert np.abs(got[-1][: len(golden["last_logits"])] - golden["last_logits"]).max() < 1e-3
    top = [int(token) for token in got.argmax(-1)]
    assert top == golden["argmax_each_position"]


@pytest.mark.parametrize("dense", [True, False], ids=["dense", "packed"])
@pytest.mark.parametrize("quantize", ["q8_0", "q4_K_M", "int4", "nvfp4", "mxfp8"])
def test_quantised_models_stay_near_their_source(
    shared: Path, tmp_path: Path, quantize: str, dense: bool
) -> None:
    folder = shared / "zoo" / "llama-256"
    ids = json.loads((folder / "golden.json").read_text())["ids"]
    import_model(source(folder), tmp_path / "whole")
    import_model(source(folder), tmp_path / "small", quantize=quantize)
    whole, small = load(tmp_path / "whole"), load(tmp_path / "small", dense)
    assert layers(tmp_path / "small")["file_type"] == quantize.upper()
    wanted, got = (log_softmax(logits(model, ids)) for model in (whole, small))
    divergence = (np.exp(wanted) * (wanted - got)).sum(-1).mean()
    assert 0 < divergence < 0.05
    if not dense:
        assert small.bytes < whole.bytes / 2


def log_softmax(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def test_equal_weights_become_equal_blobs(shared: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        import_model(source(shared / "zoo" / "llama"), tmp_path / name)
    assert layers(tmp_path / "a") == layers(tmp_path / "b")


def test_a_gguf_of_floats_can_be_quantised(shared: Path, tmp_path: Path) -> None:
    file = shared / "zoo" / "llama-256" / "f16.gguf"
    import_model({"model.gguf": file}, tmp_path / "out", quantize="q8_0")
    golden = json.loads((file.parent / "golden.json").read_text())
    got = logits(load(tmp_path / "out"), golden["ids"])[-1][: len(golden["last_logits"])]
    assert np.abs(got - golden["last_logits"]).max() < 0.2


def test_what_is_quantised_already_is_not_quantised_again(shared: Path, tmp_path: Path) -> None:
    file = shared / "zoo" / "llama-256" / "Q4_0.gguf"
    with pytest.raises(SourceError, match="only supported for F16, BF16 and F32"):
        import_model({"m.gguf": file}, tmp_path / "out", quantize="q8_0")
    assert not (tmp_path / "out").exists()


def test_an_architecture_without_a_fixture_is_refused(shared: Path, tmp_path: Path) -> None:
    files = source(shared / "zoo" / "llama")
    config = json.loads(files["config.json"].read_text()) | {"model_type": "mamba9"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(SourceError, match='architecture "mamba9" is not supported yet'):
        import_model({**files, "config.json": tmp_path / "config.json"}, tmp_path / "out")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_hidden_layers", 10**9),
        ("num_attention_heads", 0),
        ("hidden_size", "64"),
        ("rope_theta", -1),
        ("max_position_embeddings", 2**62),
    ],
)
def test_a_config_of_numbers_that_no_model_has_is_refused_by_its_field(
    shared: Path, tmp_path: Path, field: str, value: Any
) -> None:
    files = source(shared / "zoo" / "llama")
    config = json.loads(files["config.json"].read_text()) | {field: value}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(SourceError, match=rf"config\.json: {field} must be "):
        import_model({**files, "config.json": tmp_path / "config.json"}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_template_of_its_own_goes_into_the_tokenizers_settings(
    shared: Path, tmp_path: Path
) -> None:
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    files = source(shared / "zoo" / "llama")
    files["chat_template.jinja"] = tmp_path / "chat_template.jinja"
    import_model(files, tmp_path / "out")
    found = {layer["name"]: layer["digest"] for layer in layers(tmp_path / "out")["layers"]}
    settings = tmp_path / "out" / found["tokenizer_config.json"].replace(":", "-")
    assert json.loads(settings.read_text())["chat_template"] == "{{ messages }}"
    assert "chat_template.jinja" not in found


def test_every_family_that_is_imported_can_be_loaded() -> None:
    loadable = set(mlx_models.SUPPORTED) | set(ENCODERS)
    towers = {"idefics3", "llava", "mistral3", "qwen3_vl", "smolvlm"}
    assert set(FAMILIES) - towers <= loadable


def test_the_command_line_says_what_is_wrong(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "converters", "import", str(tmp_path), str(tmp_path / "out")]
    done = subprocess.run([*command, "--progress", "json"], capture_output=True, text=True)
    assert done.returncode == 1
    assert json.loads(done.stdout.splitlines()[-1]) == {"error": "no safetensors files"}
