import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mlx_ollama.api.models import CreateRequest, Progress, ShowRequest
from mlx_ollama.conversion import Conversions, Source
from mlx_ollama.create.create import check, create
from mlx_ollama.errors import (
    CorruptData,
    InvalidDigest,
    InvalidName,
    InvalidRequest,
    LoadFailed,
    MlxOllamaError,
    NotFound,
)
from mlx_ollama.ipc.messages import Load, Progress as Converted
from mlx_ollama.store import describe
from mlx_ollama.store.names import ModelName
from mlx_ollama.store.store import Store
from tests.fakes.gguf import LLAMA, TENSORS, gguf
from tests.fakes.models import add_model, run_create, upload

pytestmark = pytest.mark.anyio
CHATML = (
    "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


async def create_tiny(store: Store, content: bytes, **request: Any) -> list[str]:
    digest = await upload(store, content)
    lines = await run_create(store, {"model": "tiny", "files": {"tiny.gguf": digest}} | request)
    return [" ".join(line.status.split(" ")[:3]) for line in lines]


def kinds(store: Store, name: str = "tiny") -> list[str]:
    return [layer.kind for layer in store.resolve(name).manifest.layers]


async def test_a_file_becomes_a_model_in_ollamas_words(store: Store) -> None:
    lines = await create_tiny(store, gguf(), system="s", parameters={"seed": 1})
    assert lines == [
        "parsing GGUF", "verifying conversion", "creating new layer", "creating new layer",
        "creating new layer", "writing manifest", "success",
    ]  # fmt: skip
    assert kinds(store) == ["model", "system", "params"]


async def test_a_model_made_from_another_names_it(store: Store) -> None:
    await add_model(store, "base", template="{{ .Prompt }}")
    lines = await run_create(store, {"model": "child", "from": "BASE", "system": "s"})
    model = store.resolve("base").manifest.layers
    assert [line.status for line in lines[:2]] == [
        f"using existing layer {layer.digest}" for layer in model
    ]
    assert store.resolve("child").parent == "base:latest"
    assert [line.status for line in lines[3:]] == ["writing manifest", "success"]


async def test_each_field_merges_by_its_own_rule(store: Store) -> None:
    await add_model(
        store, "base", system="old", template="{{ .Prompt }}", license="one",
        parameters={"seed": 1, "stop": ["a", "b"]}, messages=[{"role": "user", "content": "x"}],
        renderer="r", parser="qwen3", requires="0.1.0",
    )  # fmt: skip
    request = {
        "system": "new", "template": "", "license": ["two", "three"], "messages": [],
        "parameters": {"stop": ["c"], "top_k": 3}, "renderer": "other",
    }  # fmt: skip
    await run_create(store, {"model": "child", "from": "base"} | request)
    child = store.resolve("child")
    assert child.system == "new"
    assert child.template == "{{ .Prompt }}"
    assert child.licenses == ["one", "two", "three"]
    assert child.parameters == {"seed": 1, "stop": ["c"], "top_k": 3}
    assert [message.content for message in child.messages] == ["x"]
    config = child.config
    assert (config.renderer, config.parser, config.requires) == ("other", "qwen3", "0.1.0")


async def test_info_says_what_the_weights_do_not(store: Store) -> None:
    info = {
        "capabilities": ["tools"], "model_family": "fam", "quantization_level": "Q",
        "parameter_size": "1B", "context_length": 7, "base_name": "b",
    }  # fmt: skip
    await create_tiny(store, gguf(), info=info)
    config = store.resolve("tiny").config
    assert config.model_families == ["fam", "llama"]
    assert (config.model_family, config.file_type, config.model_type) == ("fam", "Q", "1B")
    assert (config.context_length, config.capabilities) == (7, ["tools"])


async def test_a_plain_chatml_template_is_kept_as_its_equal(store: Store) -> None:
    content = gguf({**LLAMA, "tokenizer.chat_template": CHATML})
    lines = await create_tiny(store, content)
    assert "using autodetected template" in lines
    model = store.resolve("tiny")
    assert model.template is not None
    assert model.template.endswith("<|im_start|>assistant\n")
    assert model.parameters == {"stop": ["<|im_start|>", "<|im_end|>"]}


@pytest.mark.parametrize("extra", ["{% if tools %}{% endif %}", "<|im_start|>system\nYou are"])
async def test_any_other_chat_template_stays_the_models_own(store: Store, extra: str) -> None:
    await create_tiny(store, gguf({**LLAMA, "tokenizer.chat_template": extra + CHATML}))
    model = store.resolve("tiny")
    assert model.template is None
    assert model.parameters["stop"] == ["<|im_start|>", "<|im_end|>"]


def split_parts() -> list[bytes]:
    names = list(TENSORS)
    counts = {"split.count": 2, "split.tensors.count": len(names)}
    return [
        gguf(
            {**(LLAMA if number == 0 else {}), **counts, "split.no": number},
            {name: TENSORS[name] for name in names[number * 2 : number * 2 + 2]},
        )
        for number in (0, 1)
    ]


async def test_the_parts_of_a_split_model_become_one_file(store: Store) -> None:
    one, two = [await upload(store, part) for part in split_parts()]
    files = {"m-00002-of-00002.gguf": two, "m-00001-of-00002.gguf": one}
    await run_create(store, {"model": "split", "files": files})
    await create_tiny(store, gguf())
    assert kinds(store, "split") == ["model"]
    assert store.resolve("split").weights == store.resolve("tiny").weights


async def test_a_missing_part_is_told(store: Store) -> None:
    part = await upload(store, split_parts()[1])
    with pytest.raises(InvalidRequest, match="2 parts, and 1"):
        await run_create(store, {"model": "split", "files": {"a.gguf": part}})


async def test_projectors_get_layers_of_their_own(store: Store) -> None:
    files = {
        "m.gguf": await upload(store, gguf()),
        "p.gguf": await upload(store, gguf({"general.architecture": "clip"})),
    }
    await run_create(store, {"model": "x", "files": files})
    assert kinds(store, "x") == ["model", "projector"]


PLAIN: list[tuple[dict[str, Any], type[MlxOllamaError], str]] = [
    ({"model": ""}, InvalidName, "invalid model name"),
    ({"files": {"x": ""}}, InvalidDigest, "invalid digest format"),
    ({"draft_quantize": "q"}, InvalidRequest, "--draft-quantize requires a DRAFT model"),
    *(
        ({"files": {name: "d"}}, InvalidRequest, "file path must be relative")
        for name in ["", "/x", "../x", "a/../../x", "a//b", "x/", "./x", "a\\..\\x", "x\0y", "n" * 300, "con"]
    ),
    ({"files": {"a": "d", "A": "d"}}, InvalidRequest, "file path must be relative"),
    ({"files": {"\u00e9": "d", "e\u0301": "d"}}, InvalidRequest, "file path must be relative"),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "kind", "text"), PLAIN, ids=lambda value: repr(value)[:40])
def test_some_requests_are_refused_before_any_stream(
    request_: dict[str, Any], kind: type[MlxOllamaError], text: str
) -> None:
    with pytest.raises(kind, match=f"^{text}$"):
        check(msgspec.convert({"model": "x"} | request_, CreateRequest))


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "neither 'from' or 'files' was specified"),
    ({"from": "a b"}, "invalid model name"),
    ({"files": {}}, "unknown type"),
    ({"files": {"pytorch_model.bin": "sha256:zz"}}, "unsupported weights format"),
    ({"files": {"x.gguf": "sha256:zz"}}, "invalid digest format"),
    ({"files": {"x.gguf": "sha256:" + "0" * 64}}, 'blob "sha256:0+" not found'),
    ({"template": "{{ .Prompt", "from": "base"}, "template error: template: :1: unclosed action"),
    ({"license": 5, "from": "base"}, "cannot unmarshal number"),
    ({"license": [5], "from": "base"}, "cannot unmarshal number"),
    ({"remote_host": "h", "from": "base"}, "bad remote"),
    ({"draft_files": {"x": "d"}, "from": "base"}, "draft models are not supported yet"),
    ({"info": {"context_length": "x"}, "from": "base"}, 'info field "context_length" must be a number'),
    ({"info": {"context_length": -1}, "from": "base"}, "must be a non-negative integer"),
    ({"info": {"base_name": 1}, "from": "base"}, 'info field "base_name" must be a string'),
    ({"quantize": "Q9_Z", "from": "base"}, "unsupported quantization type Q9_Z - supported types are F32,"),
    ({"quantize": "q5_k_m", "from": "base"}, "unsupported quantization type Q5_K_M - .* INT4"),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "text"), REFUSED, ids=lambda value: repr(value)[:40])
async def test_a_refused_request_changes_nothing(
    store: Store, request_: dict[str, Any], text: str
) -> None:
    await add_model(store, "base")
    before = sorted(store.root.rglob("*"))
    with pytest.raises(InvalidRequest, match=text):
        await run_create(store, {"model": "x"} | request_)
    assert sorted(store.root.rglob("*")) == before


HOSTILE = {
    "a truncated file": gguf()[:-1],
    "half a header": gguf()[:60],
    "only the magic": b"GGUF",
    "an endless tensor": gguf(tensors={"token_embd.weight": (0, (1 << 20, 1))})[:500],
    "no architecture": gguf({"general.name": "x"}),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_hostile_file_is_refused_with_a_reason(store: Store, content: bytes) -> None:
    with pytest.raises(InvalidRequest, match=r"^invalid GGUF: "):
        await create_tiny(store, content)
    assert store.list() == []


async def test_an_unknown_architecture_is_refused_by_name(store: Store) -> None:
    with pytest.raises(InvalidRequest, match='architecture "strange" is not supported yet'):
        await create_tiny(store, gguf({"general.architecture": "strange"}))


@pytest.mark.parametrize("content", [b"hello", b"", b"PK\x03\x04" + b"x" * 100])
async def test_what_is_no_gguf_is_refused(store: Store, content: bytes) -> None:
    with pytest.raises(InvalidRequest, match="supplied file was not in GGUF format"):
        await create_tiny(store, content)


async def test_only_float_weights_can_be_quantised(store: Store) -> None:
    with pytest.raises(InvalidRequest, match="only supported for F16, BF16 and F32"):
        await create_tiny(store, gguf({**LLAMA, "general.file_type": 7}), quantize="q4_0")
    assert "success" in await create_tiny(store, gguf(), quantize="f16")


async def test_an_absent_base_is_pulled_first(store: Store) -> None:
    asked: list[ModelName] = []

    async def pull(name: ModelName) -> AsyncGenerator[Progress]:
        asked.append(name)
        yield Progress(status="pulling manifest")
        await add_model(store, "base")
        yield Progress(status="success")

    request = CreateRequest(model="x", from_="base")
    lines = [line.status async for line in create(request, store, pull=pull)]
    assert lines[:2] == ["pulling manifest", "success"]
    assert lines[-1] == "success"
    assert list(map(str, asked)) == ["base:latest"]
    with pytest.raises(NotFound, match=r"^pull model manifest: "):
        await run_create(store, {"model": "x", "from": "absent"})


class FakeConversions(Conversions):
    """Does what it is told in place of a converter process."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.sources: list[Source] = []

    async def prepare(self, load: Load, source: Source) -> AsyncGenerator[Converted | Load]:
        self.sources.append(source)
        yield Converted(completed=1, total=2)
        if self.error is not None:
            raise self.error
        yield load


async def convert(store: Store, conversions: Conversions) -> list[Progress]:
    digest = await upload(store, gguf())
    request = CreateRequest(model="tiny", files={"a.gguf": digest})
    return [line async for line in create(request, store, conversions)]


async def test_create_fills_the_cache_and_reports_it(store: Store) -> None:
    conversions = FakeConversions()
    lines = await convert(store, conversions)
    assert Progress(status="verifying conversion", total=2, completed=1) in lines
    (source,) = conversions.sources
    model = store.resolve("tiny")
    assert source.digests == tuple(model.weight_digests())
    assert source.gguf == tuple(model.weights)


async def test_a_cache_that_cannot_be_filled_is_no_reason_to_refuse(store: Store) -> None:
    lines = await convert(store, FakeConversions(LoadFailed("the converter ended")))
    assert lines[-1].status == "success"


@pytest.mark.parametrize("error", [InvalidRequest("bad key"), CorruptData("bad key")])
async def test_a_source_that_cannot_be_converted_is_refused(store: Store, error: Exception) -> None:
    with pytest.raises(InvalidRequest, match="bad key"):
        await convert(store, FakeConversions(error))
    assert store.list() == []


async def test_a_reader_that_leaves_ends_the_create_and_leaves_nothing(store: Store) -> None:
    digest = await upload(store, gguf())
    before = sorted(store.root.rglob("*"))
    request = CreateRequest(model="tiny", files={"a.gguf": digest}, system="s")
    lines = create(request, store)
    async for line in lines:
        if line.status.startswith("creating new layer"):
            break
    await lines.aclose()
    assert sorted(store.root.rglob("*")) == before


async def test_a_cancelled_create_leaves_nothing(store: Store) -> None:
    digest = await upload(store, gguf())
    before = sorted(store.root.rglob("*"))
    for delay in range(1, 12):
        task = asyncio.create_task(
            run_create(store, {"model": "tiny", "files": {"a.gguf": digest}, "system": str(delay)})
        )
        for _ in range(delay):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sorted(store.root.rglob("*")) == before


async def test_creates_of_one_name_end_in_one_of_them(store: Store) -> None:
    await add_model(store, "base")
    requests = [{"model": "x", "from": "base", "system": str(n)} for n in range(6)]
    await asyncio.gather(*(run_create(store, request) for request in requests))
    model = store.resolve("x")
    assert model.system in map(str, range(6))
    needed = {d for name in ("x", "base") for d in store.resolve(name).manifest.digests()}
    systems = {p.name for p in store.blobs.folder.iterdir()} - {d.file_name for d in needed}
    assert len(systems) == 1  # the upload


def test_blobs_of_ours_are_blobs_of_ollamas(shared: Path) -> None:
    """The digests that the reference gave the same texts and the same file."""
    from converters import inventory
    from mlx_ollama.create.canonical import Canonical
    from mlx_ollama.create.draft import to_json
    from mlx_ollama.store.blobs import Digest

    params = to_json({"stop": ["<|im_start|>", "<|im_end|>"]})
    assert Digest.of(params).hex.startswith("f02dd72bb2423204")
    form = Canonical(inventory.read(shared / "zoo" / "llama" / "model-f16.gguf"))
    content = b"".join(form.pieces())
    assert len(content) == form.size
    assert Digest.of(content).hex.startswith("c7c7d7e369b028a3")


@pytest.mark.parametrize("key", ["general.architecture", "tokenizer.chat_template"])
async def test_bytes_that_are_no_text_do_not_reach_an_answer(store: Store, key: str) -> None:
    content = gguf({**LLAMA, key: "text-XX"}).replace(b"text-XX", b"text-\xff\xfe")
    try:
        await create_tiny(store, content)
    except InvalidRequest as error:
        answer: object = str(error)
    else:
        answer = describe.show(store, ShowRequest(model="tiny", verbose=True))
    assert "text-\ufffd\ufffd" in msgspec.json.encode(answer).decode()
