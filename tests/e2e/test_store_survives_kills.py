"""A server killed in the middle of creates, copies, deletes and uploads: every listed model is whole."""

import http.client
import json
import random
import threading
from pathlib import Path
from typing import Any

import pytest

from mlx_ollama.store.blobs import Digest
from mlx_ollama.store.store import Store
from tests.conftest import DATA
from tests.serving import ServerProcess

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
ROUNDS = 5
LARGE = bytes(range(256)) * 40_000


class Client(threading.Thread):
    """Changes models at random until the server is gone."""

    def __init__(self, port: int, seed: int = 0, content: bytes = b"") -> None:
        super().__init__(daemon=True)
        self._port, self._random, self._content = port, random.Random(seed), content

    def run(self) -> None:
        try:
            while True:
                self._step()
        except (OSError, http.client.HTTPException):
            pass  # the server has been killed

    def _step(self) -> None:
        name, other = (f"m{self._random.randrange(3)}" for _ in range(2))
        system = str(self._random.random())
        match self._random.randrange(5):
            case 0:
                self.create(name, system)
            case 1:
                self.send("POST", "/api/create", {"model": name, "from": other, "system": system})
            case 2:
                self.send("POST", "/api/copy", {"source": name, "destination": other})
            case 3:
                self.send("DELETE", "/api/delete", {"model": name})
            case _:
                self.send("POST", f"/api/blobs/{Digest.of(LARGE)}", LARGE)

    def create(self, name: str, system: str) -> None:
        digest = Digest.of(self._content)
        self.send("POST", f"/api/blobs/{digest}", self._content)
        request = {"model": name, "files": {"m.gguf": digest}, "system": system}
        self.send("POST", "/api/create", request)

    def send(self, method: str, path: str, body: Any) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, path, content)
            connection.getresponse().read()
        finally:
            connection.close()


def test_every_listed_model_is_whole_after_kills(tmp_path: Path) -> None:
    content = (DATA / "zoo" / "llama" / "model-f16.gguf").read_bytes()
    chance = random.Random(7)
    found = 0
    for number in range(ROUNDS):
        with ServerProcess(tmp_path) as server:
            clients = [Client(server.port, 10 * number + seed, content) for seed in range(3)]
            clients[0].create("m0", "first")
            for client in clients:
                client.start()
            clients[0].join(0.2 + chance.random())  # it does not end before the kill
            server.process.kill()
            server.process.wait()
            for client in clients:
                client.join(30)
        store = Store(tmp_path / ".ollama" / "models")
        for name in store.manifests.names():
            model = store.resolve(name)
            assert all(store.blobs.hash(digest) == digest for digest in model.manifest.digests())
            found += 1
    assert found


def test_what_killed_uploads_left_goes_at_the_next_start(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.putrequest("POST", f"/api/blobs/{Digest.of(LARGE)}")
        connection.putheader("Content-Length", str(len(LARGE)))
        connection.endheaders()
        connection.send(LARGE[: len(LARGE) // 2])
        folder = tmp_path / ".ollama" / "models" / "blobs"
        while not list(folder.glob("upload-*")):
            threading.Event().wait(0.01)
        server.process.kill()
        server.process.wait()
        connection.close()
        assert list(folder.iterdir())
    with ServerProcess(tmp_path) as server:
        Client(server.port).send("GET", "/api/tags", b"")  # answered once the start is over
        assert list(folder.iterdir()) == []
