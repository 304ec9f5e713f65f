"""An adapter changes a layer as the sum of both would, dense or packed, and must fit."""

from typing import Any

import mlx.core as mx
import mlx.nn as nn
import pytest
from mlx.utils import tree_flatten

from mlx_ollama.engine import mlx_models
from mlx_ollama.engine.adapters import LowRank
from mlx_ollama.engine.loader import LoadedModel, LoadError, apply_adapter, load_stream
from tests.unit.engine.tiny import BASE

CONFIG: dict[str, Any] = {"model_type": "llama", **BASE, "hidden_size": 64, "head_dim": 16}
PATHS = ("model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj")
TOKENS = mx.array([[1, 2, 3, 4]])


def weights() -> dict[str, mx.array]:
    mx.random.seed(3)
    flat: Any = tree_flatten(mlx_models.build(CONFIG).parameters())
    return {name: mx.random.normal(a.shape) * 0.3 if a.ndim > 1 else a for name, a in flat}


def adapter(tensors: dict[str, mx.array], rank: int = 4) -> dict[str, LowRank]:
    mx.random.seed(4)
    parts: dict[str, LowRank] = {}
    for path in PATHS:
        outputs, inputs = tensors[f"{path}.weight"].shape
        down, up = mx.random.normal((rank, inputs)), mx.random.normal((outputs, rank))
        parts[path] = LowRank(down=down, up=up, scale=0.25)
    return parts


def packed() -> LoadedModel:
    model = mlx_models.build(CONFIG)
    model.load_weights(list(weights().items()))
    nn.quantize(model, group_size=32, bits=8)
    flat: Any = tree_flatten(model.parameters())
    return load_stream({**CONFIG, "quantization": {"group_size": 32, "bits": 8}}, flat, dense=False)


def test_adapted_model_is_the_merged_one() -> None:
    tensors = weights()
    parts = adapter(tensors)
    loaded = load_stream(CONFIG, tensors.items())
    plain = loaded.model(TOKENS)
    apply_adapter(loaded, parts)
    merged = dict(tensors)
    for path, part in parts.items():
        merged[f"{path}.weight"] = tensors[f"{path}.weight"] + part.scale * part.up @ part.down
    wanted = load_stream(CONFIG, merged.items()).model(TOKENS)
    assert mx.allclose(loaded.model(TOKENS), wanted, atol=1e-3)
    assert not mx.allclose(plain, wanted, atol=1e-1)


def test_packed_weights_stay_packed() -> None:
    loaded = packed()
    before = loaded.bytes
    plain = loaded.model(TOKENS)
    apply_adapter(loaded, adapter(weights()))
    assert not mx.allclose(loaded.model(TOKENS), plain, atol=1e-1)
    layers: Any = loaded.model.layers
    assert isinstance(layers[0].self_attn.q_proj.base, nn.QuantizedLinear)
    assert before < loaded.bytes < before * 1.2


@pytest.mark.parametrize(
    ("path", "down", "up", "message"),
    [
        ("model.layers.9.self_attn.q_proj", (4, 64), (64, 4), "no linear layer"),
        ("model.norm", (4, 64), (64, 4), "no linear layer"),
        (PATHS[0], (4, 65), (64, 4), "another shape"),
        (PATHS[0], (4, 64), (64, 5), "another shape"),
        (PATHS[0], (2000, 64), (64, 2000), "low rank"),
        (PATHS[0], (64,), (64, 1), "low rank"),
    ],
)
def test_adapter_that_does_not_fit_changes_nothing(
    path: str, down: tuple[int, ...], up: tuple[int, ...], message: str
) -> None:
    loaded = load_stream(CONFIG, weights().items())
    before = loaded.model(TOKENS)
    part = LowRank(down=mx.ones(down), up=mx.ones(up), scale=1.0)
    with pytest.raises(LoadError, match=message):
        apply_adapter(loaded, {**adapter(weights()), path: part})
    assert mx.array_equal(loaded.model(TOKENS), before)
