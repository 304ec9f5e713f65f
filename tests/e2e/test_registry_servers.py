"""Servers of ours, a real registry, and Ollama's own program where it is at hand."""

import asyncio
import json
import lzma
import os
import re
import subprocess
from collections.abc import Iterator
from hashlib import sha1, sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import SHARED
from tests.fakes.registry import Answer, FakeRegistry, Fault, FaultProxy, Request, real_registry
from tests.serving import ServerProcess

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
PACKED = SHARED / "clients" / "ollama-cli-0.33-linux-amd64.xz"
GGUF = SHARED / "zoo" / "llama" / "model-f16.gguf"
TEMPLATE = "{{ .Prompt }}"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with real_registry(tmp_path_factory.mktemp("registry")) as host:
        yield host


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    if not GGUF.is_file():
        pytest.skip("no shared fixtures beside this checkout")
    with ServerProcess(tmp_path_factory.mktemp("home")) as process:
        yield process


def post(server: ServerProcess, path: str, **body: Any) -> Any:
    answer = httpx.post(f"{server.url}{path}", json={"stream": False} | body, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json() if answer.content else None


def create(server: ServerProcess, name: str) -> None:
    digest = f"sha256:{sha256(GGUF.read_bytes()).hexdigest()}"
    httpx.post(f"{server.url}/api/blobs/{digest}", content=GGUF.read_bytes()).raise_for_status()
    post(server, "/api/create", model=name, files={"m.gguf": digest}, template=TEMPLATE)


def weights_of(server: ServerProcess, name: str) -> str:
    """The digest of the weights' layer, which create may have rewritten."""
    manifest = server.home / ".ollama" / "models" / "manifests" / name / "latest"
    return json.loads(manifest.read_text())["layers"][0]["digest"]


def delete(server: ServerProcess, name: str) -> None:
    body = {"model": name}
    httpx.request("DELETE", f"{server.url}/api/delete", json=body).raise_for_status()


def answer(server: ServerProcess, name: str) -> str:
    options = {"temperature": 0, "num_predict": 12}
    return post(server, "/api/generate", model=name, prompt="hello", options=options)["response"]


def blobs(server: ServerProcess) -> set[str]:
    return {path.name for path in (server.home / ".ollama" / "models" / "blobs").iterdir()}


def test_a_model_that_comes_back_from_a_registry_answers_the_same(
    registry: str, server: ServerProcess
) -> None:
    name = f"{registry}/library/there-and-back"
    create(server, name)
    before = answer(server, name)
    post(server, "/api/push", model=name, insecure=True)
    delete(server, name)
    post(server, "/api/pull", model=name, insecure=True)
    assert answer(server, name) == before


def test_create_pulls_a_base_that_is_not_here(registry: str, server: ServerProcess) -> None:
    name = f"{registry}/library/base"
    create(server, name)
    post(server, "/api/push", model=name, insecure=True)
    delete(server, name)
    answer = httpx.post(
        f"{server.url}/api/create",
        json={"model": "derived", "from": f"http://{name}", "system": "x", "stream": False},
        timeout=60,
    )
    assert "server gave HTTP response to HTTPS client" in answer.text


def test_two_pulls_at_once_both_succeed(
    registry: str, server: ServerProcess, tmp_path: Path
) -> None:
    name = f"{registry}/library/twice"
    create(server, name)
    post(server, "/api/push", model=name, insecure=True)
    with ServerProcess(tmp_path) as other:
        streams = [
            subprocess.Popen(
                [
                    "curl",
                    "-sN",
                    f"{other.url}/api/pull",
                    "-d",
                    f'{{"model":"{name}","insecure":true}}',
                ],
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(3)
        ]
        outputs = [stream.communicate(timeout=60)[0] for stream in streams]
    assert all(output.rstrip().endswith('{"status":"success"}') for output in outputs)
    assert not [file for file in blobs(other) if ".part" in file]


@pytest.mark.anyio
async def test_a_server_told_to_end_in_mid_pull_keeps_what_has_come(
    registry: str, server: ServerProcess, tmp_path: Path
) -> None:
    create(server, f"{registry}/library/stalled")
    post(server, "/api/push", model=f"{registry}/library/stalled", insecure=True)
    async with FaultProxy(registry).running() as proxy:
        proxy.faults = [Fault("stall", at=100_000, where="/blobs/", times=-1)]
        proxy.blob = weights_of(server, f"{registry}/library/stalled")
        with ServerProcess(tmp_path) as other:
            curl = await asyncio.create_subprocess_exec(
                "curl", "-sN", f"{other.url}/api/pull",
                "-d", f'{{"model":"{proxy.host}/library/stalled","insecure":true}}',
                stdout=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            await asyncio.wait_for(proxy.reached.wait(), 20)
            async with asyncio.timeout(8):
                await asyncio.to_thread(other.stop)
            await curl.wait()
        assert [file for file in blobs(other) if file.endswith(".part")]
        proxy.faults = []
        with ServerProcess(tmp_path) as other:
            name = f"{proxy.host}/library/stalled"
            await asyncio.to_thread(post, other, "/api/pull", model=name, insecure=True)
        assert not [file for file in blobs(other) if ".part" in file]


class Hub:
    """A folder as a repository of Hugging Face."""

    def __init__(self, folder: Path) -> None:
        self.files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}

    def entry(self, name: str) -> dict[str, Any]:
        content = self.files[name]
        git = sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        found: dict[str, Any] = {"type": "file", "path": name, "size": len(content), "oid": git}
        if name.endswith(".safetensors"):
            found["lfs"] = {"oid": sha256(content).hexdigest(), "size": len(content)}
        return found

    def answer(self, request: Request) -> Answer:
        name = request.path.rpartition("/")[2]
        if "/tree/main" in request.path:
            names = [name for name in self.files if not name.endswith(".gguf")]
            return Answer(200, {}, json.dumps([self.entry(name) for name in names]).encode())
        content = self.files.get(name)
        if content is None:
            return Answer(404)
        if request.range is None:
            return Answer(200, {}, content)
        start, end = request.range
        span = {"Content-Range": f"bytes {start}-{end}/{len(content)}"}
        return Answer(206, span, content[start : end + 1])


@pytest.mark.anyio
async def test_a_safetensors_repository_of_hugging_face_becomes_a_model_that_travels(
    registry: str, shared: Path, tmp_path: Path
) -> None:
    async with FakeRegistry().running() as fake:
        fake.say = Hub(shared / "zoo" / "llama").answer
        with ServerProcess(tmp_path, HF_ENDPOINT=f"http://{fake.host}") as other:
            name = "hf.co/mlx-community/tiny"
            done = await asyncio.to_thread(post, other, "/api/pull", model=name)
            assert done == {"status": "success"}
            shown = await asyncio.to_thread(post, other, "/api/show", model=name)
            assert shown["details"]["format"] == "safetensors"
            await asyncio.to_thread(_there_and_back, other, name, f"{registry}/library/tensors")


def _there_and_back(server: ServerProcess, name: str, copy: str) -> None:
    before = answer(server, name)
    assert before
    post(server, "/api/copy", source=name, destination=copy)
    post(server, "/api/push", model=copy, insecure=True)
    for gone in (name, copy):
        delete(server, gone)
    assert blobs(server) == set()
    post(server, "/api/pull", model=copy, insecure=True)
    assert answer(server, copy) == before


def test_ollamas_own_program_pushes_and_pulls(
    registry: str, server: ServerProcess, tmp_path: Path
) -> None:
    if not PACKED.is_file():
        pytest.skip("no ollama program beside this checkout")
    program = tmp_path / "ollama"
    program.write_bytes(lzma.decompress(PACKED.read_bytes()))
    program.chmod(0o755)
    environment = os.environ | {"OLLAMA_HOST": f"127.0.0.1:{server.port}", "HOME": str(tmp_path)}

    def run(*arguments: str, status: int = 0) -> str:
        done = subprocess.run(
            [program, *arguments], env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == status, done.stdout + done.stderr
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", done.stdout + done.stderr)

    name = f"{registry}/library/program"
    create(server, name)
    assert "success" in run("push", "--insecure", name)
    run("rm", name)
    pulled = run("pull", "--insecure", name)
    assert "success" in pulled
    assert re.search(r"pulling [0-9a-f]{12}.* 100% ", pulled)
    assert "program" in run("list")
    assert "file does not exist" in run("pull", "--insecure", f"{registry}/library/no", status=1)
