"""Models of tensor blobs, made by a real converter process."""

import json
from pathlib import Path
from typing import Any

import pytest

from mlx_ollama.create.draft import Draft
from mlx_ollama.create.tensors import add_tensors, own_capabilities, read_listing
from mlx_ollama.errors import CorruptData, InvalidRequest
from mlx_ollama.store.store import Store
from mlx_ollama.store.tensor_blobs import stored_tensors
from tests.conftest import DATA
from tests.fakes.models import run_create, upload

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]
GGUF = DATA / "zoo" / "llama" / "model-f16.gguf"
MINI_BERT = DATA / "encoders" / "bert"


async def upload_folder(store: Store, folder: Path, names: list[str]) -> dict[str, str]:
    return {name: await upload(store, (folder / name).read_bytes()) for name in names}


async def test_a_quantised_gguf_becomes_a_model_of_tensors(store: Store) -> None:
    files = {"model.gguf": await upload(store, GGUF.read_bytes())}
    lines = await run_create(store, {"model": "q", "files": files, "quantize": "int8"})
    statuses = list(dict.fromkeys(line.status for line in lines))
    assert statuses[:3] == [
        "parsing GGUF",
        "quantizing F16 model to INT8",
        "verifying conversion",
    ]
    bars = [line for line in lines if line.total]
    assert bars[-1].completed == bars[-1].total
    model = store.resolve("q")
    config = model.config
    assert (config.model_format, config.file_type) == ("safetensors", "INT8")
    assert (config.model_family, config.model_type) == ("llama", "140K")
    assert config.capabilities == ["completion"]
    assert {tensor.type for tensor in stored_tensors(model)} == {"int8", "F16"}
    assert {"config.json", "tokenizer.json"} <= set(model.files)
    assert model.parameters["stop"]
    store.delete("q")
    assert [path.name for path in store.blobs.folder.iterdir()] == [files["model.gguf"].file_name]


async def test_a_models_weights_are_made_anew_and_its_words_kept(store: Store) -> None:
    files = {"model.gguf": await upload(store, GGUF.read_bytes())}
    request = {"system": "s", "license": "l", "parameters": {"seed": 1}, "renderer": "r"}
    await run_create(store, {"model": "base", "files": files, **request})
    await run_create(store, {"model": "q", "from": "base", "quantize": "q8_0"})
    model = store.resolve("q")
    assert (model.system, model.licenses, model.parameters["seed"]) == ("s", ["l"], 1)
    assert (model.config.renderer, model.config.file_type) == ("r", "Q8_0")
    assert model.weights == []
    assert model.tensors
    assert model.parent == ""
    with pytest.raises(InvalidRequest, match="only supported for F16, BF16 and F32"):
        await run_create(store, {"model": "qq", "from": "q", "quantize": "int4"})
    await run_create(store, {"model": "same", "from": "q", "quantize": "Q8_0"})
    assert store.resolve("same").tensors == model.tensors


async def test_a_checkpoint_becomes_a_model_of_tensors(shared: Path, store: Store) -> None:
    names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    files = await upload_folder(store, shared / "zoo" / "llama", [*names, "chat_template.jinja"])
    lines = await run_create(store, {"model": "st", "files": files})
    assert [line.status for line in lines[:1]] == ["converting model"]
    model = store.resolve("st")
    assert (model.config.file_type, model.config.requires) == ("F16", "0.19.0")
    assert {tensor.type for tensor in stored_tensors(model)} == {"F16"}
    assert model.template is not None
    await run_create(store, {"model": "st4", "from": "st", "quantize": "int4"})
    assert "int4" in {tensor.type for tensor in stored_tensors(store.resolve("st4"))}


@pytest.mark.parametrize(
    ("files", "error"),
    [
        ({"model.safetensors": b"hello", "config.json": b"hello"}, "."),
        ({"model.safetensors": b"hello"}, "invalid safetensors"),
        ({"model.safetensors": b"x", "config.json": b'{"auto_map": {"a": "b"}}'}, "."),
        ({"a.safetensors": b"x", "pytorch_model.bin": b"x", "config.json": b"{}"}, "unsupported weights"),
    ],
)  # fmt: skip
async def test_a_bad_checkpoint_is_refused_and_leaves_nothing(
    store: Store, files: dict[str, bytes], error: str
) -> None:
    digests = {name: await upload(store, content) for name, content in files.items()}
    before = sorted(store.root.rglob("*"))
    with pytest.raises(InvalidRequest, match=error):
        await run_create(store, {"model": "x", "files": digests})
    assert sorted(store.root.rglob("*")) == before


async def test_a_reader_that_leaves_ends_the_converter(store: Store) -> None:
    draft = Draft(blobs=store.blobs)
    lines = add_tensors(draft, {"model.gguf": GGUF}, "status", "int8")
    async for _ in lines:
        break
    await lines.aclose()
    assert list(store.blobs.folder.iterdir()) == []


BAD_LISTINGS: list[Any] = [
    None,
    [],
    {"layers": [{"media_type": "x", "name": "n", "digest": "sha256:../x", "size": 1}]},
    {"layers": [{"media_type": "x", "name": "n", "digest": "sha256:" + "0" * 64, "size": 1}]},
    {"layers": 5},
]


@pytest.mark.parametrize("listing", BAD_LISTINGS)
def test_a_listing_that_makes_no_sense_is_told(tmp_path: Path, listing: Any) -> None:
    path = tmp_path / "layers.json"
    if listing is not None:
        path.write_text(json.dumps(listing))
    with pytest.raises(CorruptData, match="the conversion made no model"):
        read_listing(path)


@pytest.mark.parametrize(
    ("architecture", "settings", "wanted"),
    [
        ("llama", {}, ["completion"]),
        ("xlm-roberta", {}, ["embedding"]),
        ("gemma3", {"vision_config": {"x": 1}}, ["completion", "vision"]),
    ],
)
def test_capabilities_follow_the_architecture(
    architecture: str, settings: dict[str, Any], wanted: list[str]
) -> None:
    assert own_capabilities(architecture, settings) == wanted
