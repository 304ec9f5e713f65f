"""A load with an adapter gives the adapted model, and what is no adapter is refused in words."""

import json
from pathlib import Path
from typing import Any

import gguf
import mlx.core as mx
import numpy as np
import pytest

from converters.importing import import_model
from mlx_ollama.engine.adapters import AdaptedLinear
from mlx_ollama.engine.loader import LoadedModel
from mlx_ollama.errors import LoadFailed
from mlx_ollama.ipc.messages import Load
from mlx_ollama.runner.model import load_texts, load_weights, open_source, text_model
from tests.conftest import DATA

BASE = DATA / "zoo" / "llama" / "model-f16.gguf"
WANTED: dict[str, Any] = json.loads((DATA / "adapters" / "logits.json").read_bytes())
NAME = "blk.0.ffn_down.weight"


def write_adapter(path: Path, kind: str = "lora", inputs: int = 128) -> str:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", kind)
    writer.add_float32("adapter.lora.alpha", 4.0)
    writer.add_tensor(f"{NAME}.lora_a", np.ones((2, inputs), np.float32))
    writer.add_tensor(f"{NAME}.lora_b", np.ones((64, 2), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return str(path)


def load(adapter: str) -> Load:
    return Load(model="m", digest="d", gguf=[str(BASE)], adapters=[adapter])


def test_adapter_is_put_on_its_layer(tmp_path: Path) -> None:
    source = open_source(load(write_adapter(tmp_path / "a")), lambda done, total: None)
    loaded = load_weights(source)
    modules = loaded.model.named_modules()
    adapted = [path for path, module in modules if isinstance(module, AdaptedLinear)]
    assert adapted == ["model.layers.0.mlp.down_proj"]


@pytest.mark.parametrize(
    ("kind", "inputs", "message"),
    [("lora", 64, "another shape"), ("other", 128, "not a LoRA adapter")],
)
def test_adapter_that_does_not_fit_fails_the_load(
    tmp_path: Path, kind: str, inputs: int, message: str
) -> None:
    adapter = write_adapter(tmp_path / "a", kind, inputs)
    with pytest.raises(LoadFailed, match=message):
        load_weights(open_source(load(adapter), lambda done, total: None))


def logits(loaded: LoadedModel) -> np.ndarray[Any, Any]:
    found: Any = loaded.model(mx.array([WANTED["tokens"]]))[0, -1]
    return np.array(found.astype(mx.float32))


def test_adapter_adds_the_same_to_packed_weights_as_to_dense_ones(tmp_path: Path) -> None:
    import_model({"0.gguf": BASE}, tmp_path / "out", quantize="q8_0")
    layers = json.loads((tmp_path / "out" / "layers.json").read_bytes())["layers"]
    paths = {
        kind: {
            layer["name"]: str(tmp_path / "out" / layer["digest"].replace(":", "-"))
            for layer in layers
            if layer["media_type"].endswith(kind)
        }
        for kind in ("tensor", "json")
    }

    def run(dense: bool, adapters: list[str]) -> np.ndarray[Any, Any]:
        wanted = Load(
            model="m",
            digest="d",
            tensors=paths["tensor"],
            files=paths["json"],
            adapters=adapters,
            dense=dense,
        )
        return logits(load_weights(open_source(wanted, lambda done, total: None)))

    adapter = [str(DATA / "adapters" / "llama-lora.gguf")]
    packed, dense = run(False, adapter), run(True, adapter)
    assert np.abs(packed - dense).max() < 1e-3
    assert np.abs(packed - WANTED["gguf"]).max() < 0.15
    assert np.abs(packed - run(False, [])).max() > 0.5


def test_key_tells_adapters_apart(tmp_path: Path) -> None:
    """Of the same weights: their prefixes are not shared."""
    keys = set[str]()
    for name in ("a", "b"):
        wanted = load(write_adapter(tmp_path / name))
        source = open_source(wanted, lambda done, total: None)
        keys.add(text_model(wanted, load_texts(source.files), load_weights(source)).key)
    assert len(keys) == 2
    assert "" not in keys
