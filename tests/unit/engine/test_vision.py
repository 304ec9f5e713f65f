"""Towers and image prompts against transformers in float32: pixels, features, logits, greedy tokens."""

import json
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from PIL import Image
from tokenizers import Tokenizer

from mlx_ollama.engine import mlx_models, model_config, vision
from mlx_ollama.engine.vision import names, steering
from mlx_ollama.engine.vision.model import VisionModel
from mlx_ollama.engine.vision.prompt import ImagePrompt, image_prompt
from tests.conftest import DATA, SHARED

FOLDERS = [
    *(p.parent for p in sorted((DATA / "vision").glob("*/golden.json"))),
    *(p.parent for p in sorted((SHARED / "zoo-vision").glob("*/pixels.safetensors"))),
]
TEXT_CLASSES = {"qwen2_5_vl_text": "qwen2", "qwen3_vl_text": "qwen3"}


def read(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    return json.loads(path.read_text()) if path.exists() else {}


def wide(folder: Path) -> dict[str, mx.array]:
    loaded = mx.load(str(folder / "model.safetensors"))
    assert isinstance(loaded, dict)
    return {name: value.astype(mx.float32) for name, value in loaded.items()}


def tower(folder: Path) -> VisionModel:
    settings = read(folder, "preprocessor_config.json") or read(folder, "processor_config.json")
    model = vision.build(read(folder, "config.json"), settings)
    model.load_weights(list(model.sanitize(wide(folder)).items()))
    return model


def text_model(folder: Path, config: dict[str, Any]) -> Any:
    weights = names.of_text(wide(folder))
    config["tie_word_embeddings"] = "lm_head.weight" not in weights
    config["model_type"] = TEXT_CLASSES.get(config["model_type"], config["model_type"])
    model: Any = mlx_models.build(config)
    model.load_weights(
        list((model.sanitize(weights) if hasattr(model, "sanitize") else weights).items())
    )
    return model


class Case:
    """A folder's tower, text model and image, ready to be asked."""

    def __init__(self, folder: Path) -> None:
        self.golden = read(folder, "golden.json")
        self.tower = tower(folder)
        config = model_config.read(folder / "config.json")
        self.text = text_model(folder, config)
        self.steering = steering.Steering()
        self.tower.steer(self.text, self.steering, config)
        self.image = self.tower.prepare(Image.open(folder / "image.png").convert("RGB"))
        self.ids: list[int] = self.golden["input_ids"]

    def prompt(self) -> ImagePrompt:
        features = [self.tower.encode(self.image)]
        return image_prompt(self.tower, self.ids, [self.image], features)

    def answer(self, step: int) -> tuple[np.ndarray[Any, Any], list[int]]:
        """The last logits after prefill in chunks of `step`, and greedy tokens."""
        prompt, caches, start = self.prompt(), mlx_models.new_caches(self.text), 0
        logits = mx.zeros(1)
        while start < len(self.ids):
            end = prompt.whole(start, min(len(self.ids), start + step))
            ids = mx.array([self.ids[start:end]])
            with self.steering.prefill(prompt, start, end):
                inputs = steering.embed(self.text, ids, prompt, start)
                logits = self.text(ids, cache=caches, input_embeddings=inputs)[0, -1]
            start = end
        last, greedy = np.array(logits), []
        for _ in self.golden["greedy"]:
            greedy.append(int(np.array(logits).argmax()))
            with self.steering.decode([prompt.delta]):
                logits = self.text(mx.array([[greedy[-1]]]), cache=caches)[0, -1]
        return last, greedy


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name)
def folder(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_every_family_has_a_fixture() -> None:
    tested = {read(f, "config.json")["model_type"] for f in FOLDERS}
    if not SHARED.is_dir():
        tested |= {"gemma3", "llava", "qwen2_5_vl"}  # these lie only beside the checkout
    assert {vision.FAMILIES[name] for name in tested} == set(vision.FAMILIES.values())


@pytest.mark.parametrize("step", [1000, 3], ids=["whole", "in chunks"])
def test_logits_and_greedy_tokens_are_those_of_transformers(folder: Path, step: int) -> None:
    case = Case(folder)
    logits, greedy = case.answer(step)
    assert np.abs(logits - case.golden["last_logits"]).max() < 1e-4
    assert greedy == case.golden["greedy"]


def test_pixels_are_those_of_the_familys_processor(folder: Path) -> None:
    if not (folder / "pixels.safetensors").exists():
        pytest.skip("pixels lie only beside the shared fixtures")
    loaded: Any = mx.load(str(folder / "pixels.safetensors"))
    wanted = np.array(loaded["pixel_values"])
    image = tower(folder).prepare(Image.open(folder / "image.png").convert("RGB"))
    assert np.abs(image.pixels - wanted.reshape(image.pixels.shape)).max() < 2e-3


def test_the_marker_expands_to_the_prompts_ids(folder: Path) -> None:
    model = tower(folder)
    image = model.prepare(Image.open(folder / "image.png").convert("RGB"))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    golden = read(folder, "golden.json")
    marker = model.marker(lambda token: str(tokenizer.id_to_token(token)))
    whole = model.expansion(image, lambda token: str(tokenizer.id_to_token(token)))
    assert golden["text"].count(marker) == 1
    assert tokenizer.encode(golden["text"].replace(marker, whole)).ids == golden["input_ids"]


def test_ids_with_another_number_of_image_tokens_are_refused() -> None:
    case = Case(FOLDERS[0])
    case.ids = case.ids[1:] if case.ids[0] == case.tower.image_token else case.ids
    case.ids = [token for token in case.ids if token != case.tower.image_token]
    with pytest.raises(ValueError, match="prompt has 0 image tokens"):
        case.prompt()
