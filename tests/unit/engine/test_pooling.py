"""What an embedding model's files say, and models that give nothing but vectors."""

import json
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from mlx_ollama.engine.engine import Engine
from mlx_ollama.engine.loader import LoadError, load_directory
from mlx_ollama.engine.pooling import embedder_of, pooling
from mlx_ollama.engine.sequence import FaultEvent, Request
from tests.conftest import DATA

FOLDERS = sorted(path.parent for path in (DATA / "encoders").glob("*/golden.json"))


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, "mean"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode_lasttoken": True, "include_prompt": True}, "last"),
        ({"pooling_mode": "lasttoken"}, "last"),
        ({"pooling_mode_max_tokens": True}, "max"),
    ],
)
def test_pooling_is_what_the_settings_say(settings: dict[str, Any], wanted: str) -> None:
    assert pooling(settings) == wanted


@pytest.mark.parametrize(
    "settings",
    [
        {"pooling_mode_weightedmean_tokens": True},
        {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True},
        {"pooling_mode": "mean_sqrt_len_tokens"},
    ],
)
def test_a_pooling_that_is_not_ours_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(LoadError, match="pooling"):
        pooling(settings)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_an_encoder_loads_and_gives_pooled_vectors(folder: Path) -> None:
    golden = json.loads((folder / "golden.json").read_text())
    loaded = load_directory(folder)
    assert loaded.is_encoder
    assert loaded.cache_kinds == ()
    embedder = embedder_of(loaded, lambda _: {})
    assert embedder is not None
    found = np.array(embedder.embed(golden["ids"]))
    wanted = np.array([np.mean(hidden, axis=0) for hidden in golden["hidden"]])
    assert np.abs(found - wanted).max() < 1e-4


def test_an_encoder_s_engine_takes_no_prompts() -> None:
    engine = Engine(load_directory(DATA / "encoders" / "bert"))
    assert not engine.has_work
    engine.submit(Request(id=1, ids=[1, 2], num_ctx=64))
    (event,) = engine.step()
    assert isinstance(event, FaultEvent)
    assert "embeddings only" in event.message


def test_dense_layers_follow_the_pooling(tmp_path: Path) -> None:
    source = DATA / "encoders" / "bert"
    (tmp_path / "config.json").write_bytes((source / "config.json").read_bytes())
    weights = mx.load(str(source / "model.safetensors"))
    assert isinstance(weights, dict)
    more = {"2_Dense.linear.weight": mx.ones((4, 32)), "2_Dense.linear.bias": mx.arange(4.0)}
    mx.save_safetensors(str(tmp_path / "model.safetensors"), {**weights, **more})
    loaded = load_directory(tmp_path)
    plain = embedder_of(load_directory(source), lambda _: {})
    settings = {"2_Dense/config.json": {"activation_function": "torch.nn.modules.activation.Tanh"}}
    projected = embedder_of(loaded, lambda name: settings.get(name, {}))
    assert plain is not None
    assert projected is not None
    wanted = mx.tanh(plain.embed([[1, 2, 3]]).sum(1, keepdims=True) + mx.arange(4.0))
    assert bool(mx.allclose(projected.embed([[1, 2, 3]]), wanted, atol=1e-5))


def test_a_decoder_saved_without_its_head_gives_its_last_token(
    shared: Path, tmp_path: Path
) -> None:
    source = shared / "zoo" / "qwen3"
    weights = mx.load(str(source / "model.safetensors"))
    assert isinstance(weights, dict)
    bare = {n.removeprefix("model."): a for n, a in weights.items() if not n.startswith("lm_head")}
    config = json.loads((source / "config.json").read_text()) | {"tie_word_embeddings": True}
    (tmp_path / "config.json").write_text(json.dumps(config))
    mx.save_safetensors(str(tmp_path / "model.safetensors"), bare)
    settings = {"1_Pooling/config.json": {"pooling_mode_lasttoken": True}}
    loaded = load_directory(tmp_path)
    embedder = embedder_of(loaded, lambda name: settings.get(name, {}))
    assert embedder is not None
    rows = [[5, 6, 7], [8, 9, 10, 11, 12]]
    found = embedder.embed(rows)
    model: Any = loaded.model
    for row, vector in zip(rows, found, strict=True):
        alone = model.model(mx.array([row]))[0, -1]
        assert bool(mx.allclose(vector, alone, atol=1e-4))
