"""A load with an adapter gives the adapted model, and what is no adapter is refused in words."""

from pathlib import Path

import gguf
import numpy as np
import pytest

from mlx_ollama.engine.adapters import AdaptedLinear
from mlx_ollama.errors import LoadFailed
from mlx_ollama.ipc.messages import Load
from mlx_ollama.runner.model import load_weights, open_source
from tests.conftest import DATA

BASE = DATA / "zoo" / "llama" / "model-f16.gguf"
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
