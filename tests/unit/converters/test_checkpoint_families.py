"""Families of checkpoints against transformers; their weights are made anew from their tensors' names."""

import json
import lzma
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from converters.checkpoints import FAMILIES
from converters.errors import SourceError
from converters.importing import import_model
from mlx_ollama.engine import loader, mlx_models
from tests.conftest import DATA
from tests.unit.converters.checkpoint_weights import Weights, made, safetensors

FIXTURES = DATA / "checkpoints"
NAMES = sorted(path.name.removesuffix(".json.xz") for path in FIXTURES.glob("*.json.xz"))
# Families that transformers 4 never wrote.
ONLY_VERSION_5 = {"ministral3", "qwen3_5_text", "qwen3_5_moe_text"}
Fixture = dict[str, Any]


def read(name: str) -> Fixture:
    return json.loads(lzma.decompress((FIXTURES / f"{name}.json.xz").read_bytes()))


def weights_of(fixture: Fixture) -> Weights:
    return {name: made(name, tuple(shape)) for name, shape in fixture["tensors"].items()}


def as_version_4(config: dict[str, Any]) -> dict[str, Any]:
    """config.json in transformers 4's words."""
    old = {key: value for key, value in config.items() if key not in ("dtype", "rope_parameters")}
    rotary = config.get("rope_parameters")
    if isinstance(rotary, dict) and "full_attention" in rotary:
        old["rope_parameters"] = rotary
    elif isinstance(rotary, dict):
        scaling = dict(rotary)
        for key in ("rope_theta", "partial_rotary_factor"):
            if key in scaling:
                old[key] = scaling.pop(key)
        old["rope_scaling"] = scaling if scaling["rope_type"] != "default" else None
    return old | {"torch_dtype": config["dtype"], "transformers_version": "4.57.1"}


def imported(
    folder: Path,
    config: dict[str, Any],
    weights: Weights,
    quantize: str = "",
    dense: bool | None = None,
) -> loader.LoadedModel:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(safetensors(weights))
    files = {path.name: path for path in folder.iterdir()}
    out = folder / "out"
    import_model(files, out, quantize=quantize)
    paths: dict[str, dict[str, Path]] = {"tensor": {}, "json": {}}
    for layer in json.loads((out / "layers.json").read_text())["layers"]:
        kind = layer["media_type"].rpartition(".")[2]
        paths[kind][layer["name"]] = out / layer["digest"].replace(":", "-")
    return loader.load_tensors(paths["tensor"], paths["json"], dense=dense)


def answer(model: loader.LoadedModel, fixture: Fixture) -> tuple[np.ndarray[Any, Any], list[int]]:
    """Logits of the prompt, and what follows it greedily through the caches."""
    inner: Any = model.model
    caches = mlx_models.new_caches(inner)
    logits = np.array(inner(mx.array([fixture["ids"]]), cache=caches)[0].astype(mx.float32))
    greedy = [int(logits[-1].argmax())]
    while len(greedy) < len(fixture["greedy"]):
        step = inner(mx.array([greedy[-1:]]), cache=caches)[0, -1]
        greedy.append(int(step.argmax()))
    return logits, greedy


def require_same(model: loader.LoadedModel, fixture: Fixture) -> None:
    logits, greedy = answer(model, fixture)
    assert np.abs(logits[-1] - fixture["last_logits"]).max() < 1e-3
    wanted = fixture["argmax_each_position"]
    assert [int(logits[i].argmax()) for i in fixture["clear"]] == [
        wanted[i] for i in fixture["clear"]
    ]
    assert greedy == fixture["greedy"]


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_of_transformers_5_answers_as_there(name: str, tmp_path: Path) -> None:
    fixture = read(name)
    require_same(imported(tmp_path / "a", fixture["config"], weights_of(fixture)), fixture)


@pytest.mark.parametrize("name", sorted(set(NAMES) - ONLY_VERSION_5))
def test_a_checkpoint_of_transformers_4_answers_the_same(name: str, tmp_path: Path) -> None:
    fixture = read(name)
    config = as_version_4(fixture["config"])
    require_same(imported(tmp_path / "a", config, weights_of(fixture)), fixture)


@pytest.mark.parametrize("name", ["deepseek_v3", "ernie4_5_moe", "jamba", "olmoe", "qwen2_moe"])
def test_experts_in_one_stack_answer_as_one_by_one(name: str, tmp_path: Path) -> None:
    fixture = read(name)
    weights = fused(weights_of(fixture))
    assert any(name.endswith(".experts.gate_up_proj") for name in weights)
    require_same(imported(tmp_path / "a", fixture["config"], weights), fixture)


def fused(weights: Weights) -> Weights:
    """Experts as transformers 5 holds them in memory, and saves them when told to."""
    found: Weights = {}
    for name, array in weights.items():
        stem, expert, rest = name.partition(".experts.0.")
        if expert and rest == "gate_proj.weight":
            gate, up = (_stack(weights, stem, leaf) for leaf in ("gate_proj", "up_proj"))
            found[f"{stem}.experts.gate_up_proj"] = np.concatenate([gate, up], axis=1)
            found[f"{stem}.experts.down_proj"] = _stack(weights, stem, "down_proj")
        elif ".experts." not in name:
            found[name] = array
    return found


def _stack(weights: Weights, stem: str, leaf: str) -> np.ndarray[Any, Any]:
    count = sum(n.startswith(f"{stem}.experts.") and n.endswith(f".{leaf}.weight") for n in weights)
    return np.stack([weights[f"{stem}.experts.{i}.{leaf}.weight"] for i in range(count)])


@pytest.mark.parametrize("name", NAMES)
def test_a_quantised_checkpoint_stays_near_its_source(name: str, tmp_path: Path) -> None:
    fixture = read(name)
    weights = weights_of(fixture)
    packed = imported(tmp_path / "a", fixture["config"], weights, "q8_0", dense=False)
    assert any(hasattr(module, "scales") for module in packed.model.modules())
    logits, _ = answer(packed, fixture)
    wanted, got = log_softmax(np.array(fixture["last_logits"])), log_softmax(logits[-1])
    assert 1e-7 < (np.exp(wanted) * (wanted - got)).sum() < 0.05
    same = [logits[i].argmax() == fixture["argmax_each_position"][i] for i in fixture["clear"]]
    assert np.mean(same) > 0.7


def log_softmax(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def test_every_fixture_is_of_a_family_that_is_imported() -> None:
    assert NAMES
    assert {read(name)["config"]["model_type"] for name in NAMES} <= set(FAMILIES)


def test_missing_experts_are_refused(tmp_path: Path) -> None:
    fixture = read("olmoe")
    weights = weights_of(fixture)
    del weights["model.layers.1.mlp.experts.2.up_proj.weight"]
    with pytest.raises(SourceError, match="are missing"):
        imported(tmp_path / "a", fixture["config"], weights)


@pytest.mark.parametrize("name", ["cohere2", "qwen3_next"])
def test_layers_of_no_period_are_refused(name: str, tmp_path: Path) -> None:
    fixture = read(name)
    kinds = fixture["config"]["layer_types"]
    config = fixture["config"] | {"layer_types": [*kinds[:2], *kinds[1::-1]]}
    with pytest.raises(SourceError, match="with such layer_types is not supported yet"):
        imported(tmp_path / "a", config, weights_of(fixture))


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("deepseek_v3", {"rope_interleave": False}),
        ("falcon_h1", {"mamba_n_groups": 2, "mamba_rms_norm": True}),
        ("granitemoehybrid", {"mamba_n_groups": 2}),
        ("helium", {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}}),
        ("mamba2", {"n_groups": 2}),
        ("olmoe", {"clip_qkv": 8.0}),
        ("phimoe", {"rope_parameters": None, "rope_scaling": {"type": "longrope"}}),
        ("jamba", {"expert_layer_period": 3}),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}),
    ],
)
def test_a_setting_that_would_be_passed_over_is_refused(
    name: str, setting: dict[str, Any], tmp_path: Path
) -> None:
    fixture = read(name)
    config = fixture["config"] | setting
    with pytest.raises(SourceError, match=rf'"{name}" with .* is not supported yet'):
        imported(tmp_path / "a", config, weights_of(fixture))


def test_a_window_that_a_class_does_not_know_ends_the_context(tmp_path: Path) -> None:
    fixture = read("starcoder2")
    config = fixture["config"] | {"sliding_window": 32}
    assert imported(tmp_path / "a", config, weights_of(fixture)).context_length == 32
