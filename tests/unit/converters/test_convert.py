"""The directory that a conversion leaves, whole or not at all, and the command line."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from click.testing import CliRunner

import converters
from converters import convert as convert_module, sinks
from converters.__main__ import main
from converters.convert import convert
from converters.errors import NoRoom, SourceError
from converters.stream import StoredArray
from tests.unit.converters.gguf_bytes import Gguf
from tests.unit.converters.running import answer


@pytest.fixture
def source(shared: Path) -> Path:
    return shared / "zoo" / "llama-256" / "Q4_K_M.gguf"


def test_a_directory_has_all_that_mlx_lm_and_the_runner_want(source: Path, tmp_path: Path) -> None:
    convert([source], tmp_path / "out", dtype="bf16")
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == [
        "config.json",
        "conversion.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    config, record, settings, generation = (
        json.loads((tmp_path / "out" / f"{name}.json").read_text())
        for name in ("config", "conversion", "tokenizer_config", "generation_config")
    )
    assert config["model_type"] == "llama"
    assert config["quantization"]["group_size"] == 32
    assert config["quantization"]["lm_head"] == {"group_size": 32, "bits": 8}
    assert record["converter_version"] == converters.VERSION
    assert len(record["sources"][0]["sha256"]) == 64
    assert settings["add_bos_token"] is False
    assert "im_start" in settings["chat_template"]
    assert generation["eos_token_id"] == [0, 2]


@pytest.mark.parametrize(
    ("dtype", "kind"), [("f32", mx.float32), ("bf16", mx.bfloat16), ("f16", mx.float16)]
)
def test_floats_are_stored_in_the_dtype_that_was_asked_for(
    dtype: Any, kind: mx.Dtype, source: Path, tmp_path: Path
) -> None:
    convert([source], tmp_path / "out", dtype=dtype)
    weights: Any = mx.load(str(tmp_path / "out" / "model.safetensors"))
    assert {a.dtype for a in weights.values()} == {kind, mx.uint32}
    norm: Any = np.asarray(weights["model.norm.weight"].astype(mx.float32))
    assert 0.5 < np.abs(norm).max() < 2


def test_half_precision_changes_little(source: Path, tmp_path: Path) -> None:
    ids = [70, 470, 298, 67, 262, 10, 289]
    answers: list[list[float]] = []
    for dtype in ("f32", "bf16"):
        convert([source], tmp_path / dtype, dtype=dtype, compact=True)
        answers.append(answer(tmp_path / dtype, ids, 1, dense=True).logits[-1])
    assert max(abs(a - b) for a, b in zip(*answers, strict=True)) < 0.1


def test_shards_are_loaded_by_their_index(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert([source], tmp_path / "one", dtype="f32")
    monkeypatch.setattr(sinks, "SHARD_BYTES", 300_000)
    convert([source], tmp_path / "many", dtype="f32")
    index = json.loads((tmp_path / "many" / "model.safetensors.index.json").read_text())
    files = sorted(set(index["weight_map"].values()))
    assert len(files) > 2
    assert files[0] == f"model-00001-of-{len(files):05d}.safetensors"
    one: Any = mx.load(str(tmp_path / "one" / "model.safetensors"))
    for name, file in index["weight_map"].items():
        part: Any = mx.load(str(tmp_path / "many" / file))
        assert mx.array_equal(part[name], one[name])


def test_the_live_model_is_what_a_directory_would_be(source: Path, tmp_path: Path) -> None:
    convert([source], tmp_path / "out", dtype="bf16")
    live = sinks.live([source], dtype="bf16")
    stored: Any = mx.load(str(tmp_path / "out" / "model.safetensors"))
    weights = dict(live.weights)
    assert weights.keys() == stored.keys()
    assert all(mx.array_equal(weights[name], stored[name]) for name in stored)
    assert live.config == json.loads((tmp_path / "out" / "config.json").read_text())
    assert live.files["tokenizer.json"] == (tmp_path / "out" / "tokenizer.json").read_bytes()


def test_a_failure_leaves_nothing(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Iterator[StoredArray]:
        raise OSError(28, "No space left on device")
        yield

    monkeypatch.setattr(convert_module, "stream", broken)
    with pytest.raises(OSError, match="No space left"):
        convert([source], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_conversion_left_is_removed(source: Path, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    abandoned = tmp_path / f".out.partial-{int(ended.stdout)}"
    running = tmp_path / f".out.partial-{os.getppid()}"
    for folder in (abandoned, running):
        folder.mkdir()
    convert([source], tmp_path / "out")
    assert not abandoned.exists()
    assert running.exists()


def test_a_full_disk_is_known_before_anything_is_written(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convert_module, "SPARE_BYTES", 1 << 60)
    with pytest.raises(NoRoom, match="not enough disk space: need"):
        convert([source], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_not_touched(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(SourceError, match="exists already"):
        convert([source], tmp_path / "out")


@pytest.mark.parametrize("architecture", ["mamba", "grok", "llama4", "clip"])
def test_an_unknown_architecture_is_refused_by_name(architecture: str, tmp_path: Path) -> None:
    path = Gguf(metadata=[("general.architecture", architecture)]).write(tmp_path / "x")
    with pytest.raises(SourceError, match=f'^architecture "{architecture}" is not supported yet$'):
        convert([path], tmp_path / "out")


def run(*arguments: str) -> tuple[int, list[str]]:
    result = CliRunner().invoke(main, list(arguments))
    return result.exit_code, result.stdout.splitlines()


def test_the_command_reports_progress_as_json(source: Path, tmp_path: Path) -> None:
    status, lines = run("convert", str(source), str(tmp_path / "out"), "--progress", "json")
    reports = [json.loads(line) for line in lines]
    assert status == 0
    assert all(r.keys() == {"phase", "completed", "total"} for r in reports)
    counts = [r["completed"] for r in reports if r["phase"] == "converting"]
    assert counts == sorted(counts)
    assert reports[-1]["phase"] == "done"
    assert (tmp_path / "out" / "config.json").exists()


def test_the_commands_last_line_says_what_went_wrong(tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"GGUF" + b"\0" * 30)
    status, lines = run(
        "convert", str(tmp_path / "bad"), str(tmp_path / "out"), "--progress", "json"
    )
    assert status == 1
    assert json.loads(lines[-1])["error"].startswith("invalid GGUF: ")
    assert str(tmp_path) not in lines[-1]


def test_inspect_says_what_each_group_becomes(source: Path) -> None:
    status, lines = run("inspect", str(source), "--json", "--dtype", "bf16")
    found = json.loads("\n".join(lines))
    assert status == 0
    assert (found["architecture"], found["file_type"]) == ("llama", "Q4_K_M")
    errors = {(g["group"], g["type"]): g["added_error"] for g in found["groups"]}
    assert 0.003 < errors["output", "Q6_K"] < 0.006
    assert errors["norms", "F32"] < 0.003
    becomes = {g["type"]: g["becomes"] for g in found["groups"]}
    assert becomes["Q4_K"] == "affine 4 bit, groups of 32"
    assert becomes["F32"] == "bf16"


def test_inspect_shows_a_table_and_why_a_model_cannot_be_converted(
    source: Path, tmp_path: Path
) -> None:
    status, lines = run("inspect", str(source))
    assert status == 0
    assert any(line.startswith("parameters     1.443M") for line in lines)
    path = Gguf(metadata=[("general.architecture", "grok")]).write(tmp_path / "x")
    status, lines = run("inspect", str(path))
    assert status == 0
    assert lines[-1] == 'cannot be converted: architecture "grok" is not supported yet'
