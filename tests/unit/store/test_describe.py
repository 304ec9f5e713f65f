import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mlx_ollama.api.models import ShowRequest, ShowResponse
from mlx_ollama.errors import InvalidName, InvalidRequest, NotFound
from mlx_ollama.store import describe, inspections
from mlx_ollama.store.store import Store
from tests.fakes.gguf import LLAMA, gguf
from tests.fakes.models import add_model, run_create, upload

pytestmark = pytest.mark.anyio


def shown(store: Store, **request: Any) -> ShowResponse:
    return describe.show(store, msgspec.convert(request, ShowRequest))


async def add_gguf(store: Store, content: bytes, **request: Any) -> None:
    digest = await upload(store, content)
    await run_create(store, {"model": "tiny", "files": {"tiny.gguf": digest}} | request)


async def test_tags_tell_all_that_is_known(store: Store) -> None:
    await add_model(store, "me/tiny:v1")
    model = store.resolve("me/tiny:v1")
    (entry,) = msgspec.to_builtins(describe.tags(store).models)
    assert entry.pop("modified_at") == msgspec.to_builtins(model.modified_at)
    assert entry == {
        "name": "me/tiny:v1",
        "model": "me/tiny:v1",
        "size": sum(path.stat().st_size for path in _blobs(store, "me/tiny:v1")),
        "digest": model.digest,
        "details": {
            "parent_model": "",
            "format": "gguf",
            "family": "llama",
            "families": ["llama"],
            "parameter_size": "2K",
            "quantization_level": "F16",
            "context_length": 512,
            "embedding_length": 32,
        },
        "capabilities": ["completion"],
    }


def _blobs(store: Store, name: str) -> list[Path]:
    manifest = store.resolve(name).manifest
    return [store.blobs.path(manifest.config.digest)] + [
        store.blobs.path(layer.digest) for layer in manifest.layers
    ]


async def test_show_has_its_keys_in_order_and_no_more(store: Store) -> None:
    await add_model(store)
    keys = list(json.loads(msgspec.json.encode(shown(store, model="tiny"))))
    assert keys == (
        ["modelfile", "template", "details", "model_info", "tensors", "capabilities", "modified_at"]
    )


async def test_lists_in_model_info_need_verbose(store: Store) -> None:
    await add_model(store)
    info = shown(store, model="tiny").model_info
    assert info["tokenizer.ggml.tokens"] is None
    assert "general.name" not in info
    assert info["general.parameter_count"] == 2176
    assert shown(store, model="tiny", verbose=True).model_info["tokenizer.ggml.tokens"] == [
        "<s>", "a", "b",
    ]  # fmt: skip


async def test_tensors_come_block_by_block(store: Store) -> None:
    await add_model(store)
    names = [tensor.name for tensor in shown(store, model="tiny").tensors]
    assert names == [
        "output_norm.weight", "token_embd.weight", "blk.0.attn_k.weight", "blk.0.attn_q.weight",
    ]  # fmt: skip


async def test_parameters_are_written_as_go_does(store: Store) -> None:
    values = {"stop": ['"', "a\nb"], "temperature": 0.7, "num_ctx": 1048576, "use_mmap": True}
    await add_model(store, parameters=values)
    response = shown(store, model="tiny")
    assert response.parameters.splitlines() == [
        "num_ctx                        1.048576e+06",
        r'stop                           "\""',
        r'stop                           "a\nb"',
        "temperature                    0.7",
        "use_mmap                       true",
    ]
    assert "PARAMETER num_ctx 1048576\n" in response.modelfile


async def test_the_request_may_change_the_modelfile(store: Store) -> None:
    await add_model(store, system="a", parameters={"seed": 1})
    response = shown(store, model="tiny", system="b", options={"seed": 2})
    assert response.system == "b"
    assert "SYSTEM b\nPARAMETER seed 2\n" in response.modelfile
    assert response.parameters.endswith(" 1")


@pytest.mark.parametrize("value", [{"a": [1]}, [[1]], [{}], 10**400, -(10**30), 1e300])
async def test_a_parameter_that_no_option_has_is_shown(store: Store, value: Any) -> None:
    await add_model(store, parameters={"seed": 1})
    assert "PARAMETER odd " in shown(store, model="tiny", options={"odd": value}).modelfile


async def test_a_projector_gives_vision_and_its_own_info(store: Store) -> None:
    projector = gguf({"general.architecture": "clip", "general.type": "mmproj", "clip.x": 5})
    one, two = await upload(store, gguf()), await upload(store, projector)
    await run_create(store, {"model": "tiny", "files": {"a.gguf": one, "b.gguf": two}})
    response = shown(store, model="tiny")
    assert response.capabilities == ["completion", "vision"]
    assert response.projector_info["clip.x"] == 5
    assert response.details.families == ["llama", "clip"]
    assert response.modelfile.count("\nFROM ") == 2


@pytest.mark.parametrize(
    ("keys", "request_", "wanted"),
    [
        ({"llama.pooling_type": 1}, {}, ["embedding"]),
        ({"tokenizer.chat_template": "{% if tools %}<think></think>"}, {}, ["completion", "tools", "thinking"]),
        ({"tokenizer.chat_template": "{% if tools %}"}, {"template": "{{ .Suffix }}"}, ["completion", "insert"]),
        ({}, {"parser": "qwen3-thinking", "info": {"capabilities": ["audio"]}},
         ["audio", "completion", "tools", "thinking"]),
    ],
)  # fmt: skip
async def test_capabilities_come_from_all_places_in_order(
    store: Store, keys: dict[str, Any], request_: dict[str, Any], wanted: list[str]
) -> None:
    await add_gguf(store, gguf({**LLAMA, **keys}), **request_)
    assert shown(store, model="tiny").capabilities == wanted


async def test_a_models_own_chat_template_is_shown(store: Store) -> None:
    await add_gguf(store, gguf({**LLAMA, "tokenizer.chat_template": "{{ messages }}"}))
    response = shown(store, model="tiny")
    assert response.template == "{{ messages }}"
    assert "TEMPLATE" not in response.modelfile
    assert "tokenizer.chat_template" not in response.model_info


def test_show_says_what_is_wrong_with_a_name(store: Store) -> None:
    with pytest.raises(InvalidRequest, match="model is required"):
        shown(store, model="")
    with pytest.raises(InvalidName):
        shown(store, model="x y")
    with pytest.raises(NotFound, match=r"^model 'UPPER:latest' not found$"):
        shown(store, name="UPPER")


async def test_weights_are_looked_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await add_model(store)
    first = describe.tags(store)

    def unread(*_: object) -> None:
        raise AssertionError("looked at again")

    monkeypatch.setattr(inspections, "inspect_model", unread)
    again = Store(store.root, store.root.parent / "cache")
    assert describe.tags(again) == first


async def test_what_was_learnt_goes_with_the_model(store: Store) -> None:
    await add_model(store)
    describe.tags(store)
    folder = store.root.parent / "cache" / "inspections"
    assert len(list(folder.iterdir())) == 1
    store.delete("tiny")
    assert list(folder.iterdir()) == []


async def test_a_cache_that_cannot_be_used_costs_nothing_but_time(store: Store) -> None:
    await add_model(store)
    cache = store.root.parent / "cache"
    cache.write_text("in the way")
    assert len(describe.tags(store).models) == 1
