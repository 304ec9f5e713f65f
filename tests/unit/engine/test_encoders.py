"""Our encoders against transformers in float32, over tiny random weights."""

import json
from importlib import import_module
from pathlib import Path

import mlx.core as mx
import pytest

from mlx_ollama.engine import model_config
from mlx_ollama.engine.encoders import FAMILIES, family
from tests.conftest import DATA

FOLDERS = sorted(path.parent for path in (DATA / "encoders").glob("*/golden.json"))


def load(folder: Path):
    config = model_config.read(folder / "config.json")
    module = import_module(f"mlx_ollama.engine.encoders.{FAMILIES[family(config)]}")
    model = module.Model(module.ModelArgs.from_dict(config))
    weights = mx.load(str(folder / "model.safetensors"))
    assert isinstance(weights, dict)
    wide = {name: value.astype(mx.float32) for name, value in weights.items()}
    model.load_weights(list(model.sanitize(wide).items()))
    return model


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_hidden_states_of_padded_rows_are_those_of_transformers(folder: Path) -> None:
    golden = json.loads((folder / "golden.json").read_text())
    rows = golden["ids"]
    width = max(map(len, rows))
    ids = mx.array([row + [0] * (width - len(row)) for row in rows])
    mask = mx.array([[True] * len(row) + [False] * (width - len(row)) for row in rows])
    hidden = load(folder)(ids, mask)
    for i, wanted in enumerate(golden["hidden"]):
        reference = mx.array(wanted)
        difference = mx.abs(hidden[i, : len(wanted)] - reference).max()
        assert bool(difference < 1e-4)


def test_every_encoder_has_a_fixture() -> None:
    tested = {family(json.loads((f / "config.json").read_text())) for f in FOLDERS}
    assert {FAMILIES[name] for name in tested} == set(FAMILIES.values())
