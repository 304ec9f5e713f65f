"""Vision towers out of GGUF, in a file of their own or in the model's, against transformers in float32."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from PIL import Image

from converters import inventory
from converters.convert import convert
from converters.errors import SourceError, Unsupported
from converters.plan import plan
from converters.sinks import live
from mlx_ollama.engine import mlx_models
from mlx_ollama.engine.loader import LoadedModel, LoadError, load_directory, load_stream
from mlx_ollama.engine.vision import steering
from mlx_ollama.engine.vision.prompt import image_prompt

TWO_FILES = [
    ("gemma3", "mmproj-f16.gguf"),
    ("gemma3-112", "mmproj-f16.gguf"),
    ("llava", "mmproj-f16.gguf"),
    ("llava", "mmproj-legacy-f16.gguf"),
    ("qwen25vl", "mmproj-f16.gguf"),
]
ONE_FILE = ["gemma3", "gemma3-112", "qwen25vl"]


def sources(folder: Path, projector: str) -> dict[str, Any]:
    """The arguments of a conversion; without a projector the tower is in the model's file."""
    if not projector:
        return {"sources": [folder / "ollama-single.gguf"]}
    return {"sources": [folder / "model-f16.gguf"], "projectors": [folder / projector]}


def check(loaded: LoadedModel, folder: Path) -> None:
    """Pixels, features, logits and greedy tokens of the recorded prompt."""
    golden = json.loads((folder / "golden-gguf.json").read_text())
    tower = loaded.vision
    assert tower is not None
    image = tower.prepare(Image.open(folder / golden["image"]).convert("RGB"))
    pixels: Any = mx.load(str(folder / "pixels-gguf.safetensors"))
    wanted = np.array(pixels["pixel_values"]).reshape(image.pixels.shape)
    assert np.abs(image.pixels - wanted).max() < 1e-5
    features = tower.encode(image)
    embeds = np.array(golden["image_embeds"]).reshape(golden["image_embeds_shape"])
    assert np.abs(np.array(features.tokens) - embeds).max() < 1e-4
    ids: list[int] = golden["input_ids"]
    prompt = image_prompt(tower, ids, [image], [features])
    model: Any = loaded.model
    caches = mlx_models.new_caches(model)
    with loaded.steering.prefill(prompt, 0, len(ids)):
        inputs = steering.embed(model, mx.array([ids]), prompt, 0)
        logits = model(mx.array([ids]), cache=caches, input_embeddings=inputs)[0, -1]
    assert np.abs(np.array(logits) - golden["last_logits"]).max() < 1e-4
    greedy = list[int]()
    for _ in golden["greedy"]:
        greedy.append(int(np.array(logits).argmax()))
        with loaded.steering.decode([prompt.delta]):
            logits = model(mx.array([[greedy[-1]]]), cache=caches)[0, -1]
    assert greedy == golden["greedy"]


@pytest.mark.parametrize(("family", "projector"), [*TWO_FILES, *((name, "") for name in ONE_FILE)])
def test_a_tower_sees_what_its_checkpoint_sees(
    family: str, projector: str, shared: Path, tmp_path: Path
) -> None:
    folder, out = shared / "zoo-vision" / family, tmp_path / "out"
    convert(**sources(folder, projector), out=out, dtype="f32")
    check(load_directory(out), folder)


@pytest.mark.parametrize("projector", ["mmproj-f16.gguf", ""])
def test_a_tower_loads_without_a_directory(projector: str, shared: Path) -> None:
    folder = shared / "zoo-vision" / "qwen25vl"
    model = live(**sources(folder, projector), dtype="f32")
    check(load_stream(model.config, model.weights, processor=model.processor), folder)


def test_a_projector_of_another_model_is_refused(shared: Path) -> None:
    zoo = shared / "zoo-vision"
    model = inventory.read([zoo / "llava" / "model-f16.gguf"])
    foreign = inventory.read([zoo / "gemma3" / "mmproj-f16.gguf"])
    with pytest.raises(SourceError, match='does not go with architecture "llama"'):
        plan(model, compact=False, projectors=(foreign,))
    with pytest.raises(SourceError, match="one projector"):
        plan(model, compact=False, projectors=(foreign, foreign))
    unknown = replace(foreign, metadata={**foreign.metadata, "clip.projector_type": "ldp"})
    with pytest.raises(Unsupported, match='projector "ldp" is not supported yet'):
        plan(model, compact=False, projectors=(unknown,))


WRONG: list[tuple[str, Any]] = [
    ("clip.vision.block_count", 0),
    ("clip.vision.block_count", "two"),
    ("clip.vision.image_size", 1 << 30),
    ("clip.vision.patch_size", 0),
    ("clip.vision.projector.scale_factor", 100),
    ("clip.vision.projector.scale_factor", 3),
    ("clip.vision.image_mean", "x"),
    ("clip.vision.image_mean", [0.5, 0.5]),
    ("clip.vision.image_std", [0.0, 0.5, 0.5]),
    ("clip.vision.attention.layer_norm_epsilon", -1.0),
]


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_numbers_that_no_tower_has_are_refused(key: str, value: Any, shared: Path) -> None:
    folder = shared / "zoo-vision" / "gemma3"
    tower = inventory.read([folder / "mmproj-f16.gguf"])
    wrong = replace(tower, metadata={**tower.metadata, key: value})
    model = inventory.read([folder / "model-f16.gguf"])
    with pytest.raises(SourceError, match="invalid GGUF"):
        plan(model, compact=False, projectors=(wrong,))


def test_a_tower_that_lacks_a_tensor_is_not_loaded(shared: Path, tmp_path: Path) -> None:
    folder = shared / "zoo-vision" / "gemma3"
    model = live(**sources(folder, "mmproj-f16.gguf"), dtype="f32")
    some = ((name, array) for name, array in model.weights if "post_layernorm" not in name)
    with pytest.raises(LoadError, match="vision weights do not match"):
        load_stream(model.config, some)
