"""Prompts with images in a batch give what transformers gives, whatever runs beside them."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mlx_ollama.engine.engine import Engine
from mlx_ollama.engine.loader import LoadedModel, load_directory
from mlx_ollama.engine.sequence import PrefillEvent, Request
from mlx_ollama.engine.vision.prompt import image_prompt
from tests.conftest import DATA, SHARED
from tests.unit.engine.tiny import drain, request, run

FOLDERS = [
    *(p.parent for p in sorted((DATA / "vision").glob("*/golden.json"))),
    *(p.parent for p in sorted((SHARED / "zoo-vision").glob("*/pixels.safetensors"))),
]


def asked(folder: Path, loaded: LoadedModel, number: int) -> tuple[Request, list[int]]:
    """The golden question about the golden picture, and its answer."""
    golden: Any = json.loads((folder / "golden.json").read_text())
    tower = loaded.vision
    assert tower is not None
    image = tower.prepare(Image.open(folder / "image.png").convert("RGB"))
    images = image_prompt(tower, golden["input_ids"], [image], [tower.encode(image)])
    wanted = request(
        number,
        golden["input_ids"],
        embeddings=images,
        key="picture",
        max_tokens=len(golden["greedy"]),
    )
    return wanted, golden["greedy"]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_answers_about_a_picture_beside_ordinary_text(folder: Path) -> None:
    loaded = load_directory(folder)
    assert loaded.batchable
    question, answer = asked(folder, loaded, 0)
    text = [request(i, [i, 5, 6, 7 + i], max_tokens=30) for i in (1, 2)]
    alone = run(Engine(loaded), text)
    together = run(Engine(loaded, parallel=3), [text[0], question, text[1]], every=2)
    assert together == {0: answer, **alone}


@pytest.mark.parametrize("folder", FOLDERS[:1], ids=lambda folder: folder.name)
def test_the_same_picture_again_is_found_in_the_cache(folder: Path) -> None:
    loaded = load_directory(folder)
    question, answer = asked(folder, loaded, 0)
    engine = Engine(loaded)
    run(engine, [question])
    engine.submit(asked(folder, loaded, 1)[0])
    events = drain(engine)
    assert next(e for e in events if isinstance(e, PrefillEvent)).cached == len(question.ids) - 1
    assert [e.token for e in events if not isinstance(e, PrefillEvent)] == answer  # type: ignore[union-attr]
