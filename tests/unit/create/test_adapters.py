"""Adapters become one layer, are held against their model when it is created, and stay when it is quantised."""

from pathlib import Path

import pytest

from converters.adapters import read
from mlx_ollama.api.models import ShowRequest
from mlx_ollama.errors import InvalidRequest
from mlx_ollama.store import describe
from mlx_ollama.store.store import Store
from mlx_ollama.store.tensor_blobs import stored_tensors
from tests.conftest import DATA
from tests.fakes.models import run_create, upload

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]
BASE = DATA / "zoo" / "llama" / "model-f16.gguf"
LORA = DATA / "adapters" / "llama-lora.gguf"
PEFT = DATA / "adapters" / "llama-peft"


async def add_base(store: Store, quantize: str = "") -> None:
    files = {"model.gguf": await upload(store, BASE.read_bytes())}
    await run_create(store, {"model": "base", "files": files, "quantize": quantize})


async def upload_peft(store: Store) -> dict[str, str]:
    names = ("adapter_config.json", "adapter_model.safetensors")
    return {name: await upload(store, (PEFT / name).read_bytes()) for name in names}


def kinds(store: Store, name: str) -> set[str]:
    return {layer.kind for layer in store.resolve(name).manifest.layers}


@pytest.mark.parametrize("quantize", ["", "int8"])
async def test_gguf_adapter_is_kept_as_it_is(store: Store, quantize: str) -> None:
    await add_base(store, quantize)
    adapters = {"a.gguf": await upload(store, LORA.read_bytes())}
    lines = await run_create(store, {"model": "x", "from": "base", "adapters": adapters})
    assert "parsing GGUF" in [line.status for line in lines]
    (path,) = store.resolve("x").adapters
    assert path.read_bytes() == LORA.read_bytes()


@pytest.mark.parametrize("quantize", ["", "int8"])
async def test_peft_becomes_one_file_that_stays_with_its_model(store: Store, quantize: str) -> None:
    await add_base(store, quantize)
    request = {"model": "x", "from": "base", "adapters": await upload_peft(store)}
    lines = await run_create(store, request)
    assert "converting adapter" in [line.status for line in lines]
    store.copy("x", "y")
    store.delete("x")
    (path,) = store.resolve("y").adapters
    assert len(list(read(path, {"model_type": "llama"}))) == 14
    shown = describe.show(store, ShowRequest(model="y"))
    assert f"ADAPTER {path}" in shown.modelfile
    digest = await upload(store, path.read_bytes())
    await run_create(store, {"model": "z", "from": "base", "adapters": {path.name: digest}})
    assert store.resolve("z").adapters == [path]


async def test_adapter_comes_with_the_files_of_its_model(store: Store) -> None:
    files = {"model.gguf": await upload(store, BASE.read_bytes())}
    request = {"model": "x", "files": files, "adapters": await upload_peft(store)}
    await run_create(store, request)
    assert {"model", "adapter"} <= kinds(store, "x")


async def test_adapter_takes_the_place_of_another_and_stays_float(store: Store) -> None:
    await add_base(store)
    adapters = {"a.gguf": await upload(store, LORA.read_bytes())}
    await run_create(store, {"model": "x", "from": "base", "adapters": adapters})
    await run_create(
        store, {"model": "x", "from": "x", "quantize": "q8_0", "adapters": await upload_peft(store)}
    )
    model = store.resolve("x")
    assert model.config.file_type == "Q8_0"
    assert model.weights == []
    assert [path.read_bytes()[:4] != b"GGUF" for path in model.adapters] == [True]


async def test_adapter_among_the_files_stays_when_they_are_quantised(store: Store) -> None:
    files = {
        "m.gguf": await upload(store, BASE.read_bytes()),
        "a.gguf": await upload(store, LORA.read_bytes()),
    }
    await run_create(store, {"model": "x", "files": files, "quantize": "int8"})
    await run_create(store, {"model": "y", "files": files})
    await run_create(store, {"model": "y", "from": "y", "quantize": "int8"})
    for name in ("x", "y"):
        assert {"tensor", "adapter"} <= kinds(store, name)
        assert "model" not in kinds(store, name)


@pytest.mark.parametrize("model", ["llava", "gemma3"])
async def test_tower_stays_float_when_a_model_is_quantised(
    store: Store, shared: Path, model: str
) -> None:
    folder = shared / "zoo-vision" / model
    names = {"m.gguf": "model-f16.gguf", "p.gguf": "mmproj-f16.gguf"}
    files = {name: await upload(store, (folder / n).read_bytes()) for name, n in names.items()}
    await run_create(store, {"model": "x", "files": files, "quantize": "int8"})
    await run_create(store, {"model": "y", "files": files})
    await run_create(store, {"model": "y", "from": "y", "quantize": "int8"})
    for name in ("x", "y"):
        found = store.resolve(name)
        types = {t.name: t.type for t in stored_tensors(found)}
        assert "vision" in describe.capabilities(store, found)
        assert "preprocessor_config.json" in found.files
        towers = {kind for name, kind in types.items() if "vision" in name or "multi" in name}
        assert towers
        assert "int8" not in towers
        assert "int8" in types.values()
        assert found.projectors == []


async def test_what_is_no_adapter_of_the_model_is_refused(store: Store) -> None:
    await add_base(store)
    base = await upload(store, BASE.read_bytes())
    lora = await upload(store, LORA.read_bytes())
    peft = await upload_peft(store)
    for adapters, message in [
        ({"a.gguf": lora, "b.gguf": lora}, "only one adapter is currently supported"),
        (peft | {"b.safetensors": lora}, "only one adapter is currently supported"),
        ({"a.gguf": base}, "supplied file is not an adapter"),
        ({"adapter_model.bin": lora}, "unsupported weights format"),
        ({"a.safetensors": peft["adapter_model.safetensors"]}, r"has no adapter_config\.json"),
    ]:
        with pytest.raises(InvalidRequest, match=message):
            await run_create(store, {"model": "x", "from": "base", "adapters": adapters})
    assert [str(stored.name) for stored in store.manifests.all()] == ["base:latest"]
