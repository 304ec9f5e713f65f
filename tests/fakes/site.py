"""The HTTP side with a model in its store and fake runners behind it, in the loop of the test."""

import asyncio
import json
import os
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from mlx_ollama.config import Settings
from mlx_ollama.server.serve import Server, http_server, make_services, open_sockets
from mlx_ollama.store.manifests import Layer, Manifest
from mlx_ollama.store.names import ModelName
from mlx_ollama.store.store import Store
from mlx_ollama.supervisor.spec import Limits
from tests.fakes.runner import Script, command, journal

_LAYER = "application/vnd.ollama.image."


class Site:
    """`client` speaks to the server at `port`; `journal` is what the runners did."""

    def __init__(self, folder: Path, port: int, client: httpx.AsyncClient, server: Server) -> None:
        self._folder = folder
        self.port = port
        self.server = server
        self.client = client

    def journal(self, beginning: str = "") -> list[str]:
        return [line for line in journal(self._folder / "journal") if line.startswith(beginning)]

    async def journalled(self, beginning: str) -> str:
        """The first such line, as soon as it is there."""
        while not (lines := self.journal(beginning)):  # noqa: ASYNC110 - written by another process
            await asyncio.sleep(0.005)
        return lines[0]

    async def runner_ended(self) -> None:
        """Waits until the first runner's process has gone."""
        pid = int((await self.journalled("load")).rsplit(" ", 1)[1])
        with suppress(ProcessLookupError):
            while True:
                os.kill(pid, 0)
                await asyncio.sleep(0.005)

    async def post(self, path: str, **body: Any) -> httpx.Response:
        return await self.client.post(path, json=body)

    async def lines(self, path: str, **body: Any) -> list[dict[str, Any]]:
        """The answer's lines; its status must be 200."""
        answer = await self.client.post(path, json=body)
        assert answer.status_code == 200, answer.text
        return [json.loads(line) for line in answer.text.splitlines()]

    async def connect(self, data: bytes) -> asyncio.StreamWriter:
        """A connection on which those bytes were sent; the caller closes it."""
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        return writer

    async def raw(self, data: bytes) -> bytes:
        """What the server answers to bytes until it closes the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        answer = await reader.read()
        writer.close()
        return answer


@asynccontextmanager
async def site(
    folder: Path,
    script: Script | None = None,
    limits: dict[str, Any] | None = None,
    **settings: Any,
) -> AsyncGenerator[Site, None]:
    """A server on a free port, with the model `m`; ended within the context."""
    script = script or Script()
    script.journal = str(folder / "journal")
    chosen = Settings(models=folder / "models", cache=folder / "cache", **settings)
    bounds = Limits(command=command(script), openblas="", **limits or {})
    services = make_services(chosen, bounds)
    add_model(services.store, "m")
    sockets = open_sockets("127.0.0.1", 0)
    port = sockets[0].getsockname()[1]
    server = http_server(services)
    task = asyncio.create_task(server.serve(sockets=sockets))
    try:
        async with asyncio.timeout(15):  # a hang is a failure with a traceback
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                yield Site(folder, port, client, server)
    finally:
        server.should_exit = server.force_exit = True
        await task
        await services.supervisor.close(0)


def add_model(
    store: Store, name: str, *, system: str = "", messages: list[dict[str, Any]] | None = None,
    parameters: dict[str, Any] | None = None, **config: Any,
) -> None:  # fmt: skip
    """A model whose weights are one number: enough for a runner that never reads them."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    blob = struct.pack("<Q", len(header)) + header + b"\0\0\0\0"
    config = {"model_format": "safetensors", "capabilities": ["completion"]} | config
    texts: dict[str, Any] = {"system": system.encode()} if system else {}
    if messages:
        texts["messages"] = json.dumps(messages).encode()
    if parameters:
        texts["params"] = json.dumps(parameters).encode()
    layers = [_layer(store, "tensor", blob, "w"), _layer(store, "json", b"{}", "config.json")]
    layers += [_layer(store, kind, content) for kind, content in texts.items()]
    manifest = Manifest(config=_layer(store, "config", json.dumps(config).encode()), layers=layers)
    with store.operation():
        store.publish(ModelName.parse(name), manifest)


def _layer(store: Store, kind: str, content: bytes, name: str = "") -> Layer:
    digest, _ = store.blobs.put(content)
    return Layer(media_type=_LAYER + kind, digest=digest, size=len(content), name=name)
