"""A scripted hub."""

import json
from collections.abc import AsyncGenerator
from hashlib import sha1, sha256
from pathlib import Path

import pytest

from mlx_ollama.api.models import Progress
from mlx_ollama.errors import InvalidRequest, UpstreamError
from mlx_ollama.registry import transfers
from mlx_ollama.registry.access import Access
from mlx_ollama.registry.huggingface import Entry, Large, pull_files, split_gguf, token
from mlx_ollama.store.blobs import Digest
from mlx_ollama.store.names import ModelName
from tests.fakes.registry import Answer, FakeRegistry, Request
from tests.unit.registry.conftest import IMPATIENT, Side

pytestmark = pytest.mark.anyio
NAME = ModelName.parse("hf.co/mlx-community/tiny")
WEIGHTS = bytes(range(256)) * 60
SMALL = {
    "config.json": b"{}",
    "tokenizer.json": b'{"model":{}}',
    "README.md": b"hello",
    "x.py": b"1",
}


def listing(*extra: dict[str, object]) -> bytes:
    small = [
        {
            "type": "file", "path": path, "size": len(content),
            "oid": sha1(b"blob %d\0" % len(content) + content).hexdigest(),
        }
        for path, content in SMALL.items()
    ]  # fmt: skip
    large = {
        "type": "file", "path": "model.safetensors", "size": len(WEIGHTS), "oid": "0" * 40,
        "lfs": {"oid": sha256(WEIGHTS).hexdigest(), "size": len(WEIGHTS), "pointerSize": 130},
    }  # fmt: skip
    return json.dumps([*small, large, *extra]).encode()


class HubStage:
    """A hub whose large files lie elsewhere, and what was made of them."""

    def __init__(self, fake: FakeRegistry, elsewhere: FakeRegistry, side: Side) -> None:
        self.fake, self.elsewhere, self.side = fake, elsewhere, side
        self.listing, self.second = listing(), b"[]"
        self.link: dict[str, str] = {}
        self.made: dict[str, Digest] = {}
        fake.say, elsewhere.say = self.answer, self.answer_elsewhere

    def answer(self, request: Request) -> Answer:
        if "cursor=second" in request.path:
            return Answer(200, {}, self.second)
        if request.path.startswith("/api/models/mlx-community/tiny/tree/main"):
            return Answer(200, self.link, self.listing)
        path = request.path.removeprefix("/mlx-community/tiny/resolve/main/")
        if path == "model.safetensors":
            return Answer(302, {"Location": f"http://{self.elsewhere.host}/cdn"})
        return Answer(200, {}, SMALL[path]) if path in SMALL else Answer(404)

    def answer_elsewhere(self, request: Request) -> Answer:
        start, end = request.range or (0, len(WEIGHTS) - 1)
        headers = {"Content-Range": f"bytes {start}-{end}/{len(WEIGHTS)}"}
        return Answer(206, headers, WEIGHTS[start : end + 1])

    async def importer(
        self, _: ModelName, digests: dict[str, Digest]
    ) -> AsyncGenerator[Progress, None]:
        self.made = digests
        yield Progress(status="success")

    async def pull(self) -> list[Progress]:
        access = Access(home=self.side.folder, insecure=True, patience=IMPATIENT)
        store, downloads = self.side.store, self.side.downloads
        steps = pull_files(store.blobs, downloads, NAME, access, self.importer)
        return [line async for line in steps]


@pytest.fixture
async def stage(here: Side, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[HubStage, None]:
    async with FakeRegistry().running() as fake, FakeRegistry().running() as elsewhere:
        monkeypatch.setenv("HF_ENDPOINT", f"http://{fake.host}")
        yield HubStage(fake, elsewhere, here)


async def test_a_models_files_are_fetched_verified_and_imported(stage: HubStage) -> None:
    lines = await stage.pull()
    assert [lines[0].status, lines[-1].status] == ["pulling manifest", "success"]
    assert set(stage.made) == {"config.json", "tokenizer.json", "model.safetensors"}
    blobs = stage.side.store.blobs
    assert blobs.path(stage.made["model.safetensors"]).read_bytes() == WEIGHTS
    assert all(blobs.hash(digest) == digest for digest in stage.made.values())


async def test_the_users_token_stays_with_the_hub(
    stage: HubStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    await stage.pull()
    sent = {request.headers.get("authorization") for request in stage.fake.requests}
    assert sent == {"Bearer hf_secret"}
    assert stage.elsewhere.requests
    assert all("authorization" not in request.headers for request in stage.elsewhere.requests)


async def test_a_small_file_that_is_not_what_the_hub_says_is_refused(stage: HubStage) -> None:
    stage.listing = stage.listing.replace(sha1(b"blob 2\0{}").hexdigest().encode(), b"1" * 40)
    with pytest.raises(UpstreamError, match=r"config\.json is not what the hub says it is"):
        await stage.pull()
    assert not stage.made


@pytest.mark.parametrize(
    "path",
    [
        "../x.safetensors",
        "/etc/x.json",
        "a/b.json",
        "x.bin",
        "model.pkl",
        "modeling.py",
        "..\\x.json",
    ],
)
async def test_what_is_no_plain_model_file_is_left_alone(path: str, stage: HubStage) -> None:
    stage.listing = listing({"type": "file", "path": path, "size": 1, "oid": "0" * 40})
    await stage.pull()
    assert path not in stage.made


async def test_a_gguf_repository_is_left_to_the_registrys_pull(stage: HubStage) -> None:
    stage.listing = listing({"type": "file", "path": "m.Q4_K_M.gguf", "size": 1, "oid": "0" * 40})
    assert await stage.pull() == []


async def test_a_listing_of_several_pages_is_read_to_its_end(stage: HubStage) -> None:
    stage.second, stage.listing = stage.listing, b"[]"
    url = f"http://{stage.fake.host}/api/models/mlx-community/tiny/tree/main?cursor=second"
    stage.link = {"Link": f'<{url}>; rel="next"'}
    await stage.pull()
    assert "model.safetensors" in stage.made


async def test_a_next_page_elsewhere_is_not_asked_for(stage: HubStage) -> None:
    stage.link = {"Link": f'<http://{stage.elsewhere.host}/x>; rel="next"'}
    await stage.pull()
    assert {request.path for request in stage.elsewhere.requests} == {"/cdn"}


def parts(quantization: str, count: int = 3) -> list[Entry]:
    return [
        Entry(
            type="file",
            path=f"{quantization}/m-{quantization}-{index:05}-of-{count:05}.gguf",
            lfs=Large(oid="a" * 64, size=1),
        )
        for index in range(1, count + 1)
    ]


def test_a_gguf_model_in_parts_is_fetched_whole() -> None:
    entries = [*parts("Q4_K_M"), *parts("Q8_0"), Entry(type="file", path="m-Q6_K.gguf")]
    assert split_gguf(entries, "Q4_K_M") == parts("Q4_K_M")
    assert split_gguf(entries, "q8_0") == parts("Q8_0")
    assert split_gguf(entries, "Q6_K") == []
    assert split_gguf(entries, "Q") == []


async def test_a_tag_of_a_repository_without_gguf_is_a_revision(stage: HubStage) -> None:
    tagged = ModelName.parse("hf.co/mlx-community/tiny:v2")
    access = Access(home=stage.side.folder, insecure=True, patience=IMPATIENT)
    store, downloads = stage.side.store, stage.side.downloads
    steps = pull_files(store.blobs, downloads, tagged, access, stage.importer)
    assert [line async for line in steps] == []
    assert stage.fake.paths("/tree/v2")


async def test_an_unknown_repository_is_left_to_the_registrys_pull(stage: HubStage) -> None:
    stage.listing = b"not json"
    assert await stage.pull() == []


async def test_without_an_importer_nothing_large_is_fetched(
    stage: HubStage,
) -> None:
    pulls = transfers.Transfers(stage.side.store, stage.side.folder)
    with pytest.raises(InvalidRequest, match="importing safetensors is not supported yet"):
        _ = [line async for line in pulls.pull(NAME, insecure=True)]
    assert not stage.elsewhere.requests


def test_the_token_is_found_where_the_hubs_programs_keep_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert token(tmp_path) == ""
    folder = tmp_path / ".cache" / "huggingface"
    folder.mkdir(parents=True)
    (folder / "token").write_text("from file\n")
    assert token(tmp_path) == "from file"
    monkeypatch.setenv("HF_TOKEN", "from environment")
    assert token(tmp_path) == "from environment"
