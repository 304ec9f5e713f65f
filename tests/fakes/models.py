"""Models put into a store without a server."""

import hashlib
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import msgspec

from mlx_ollama.api.models import CreateRequest, Progress
from mlx_ollama.create.create import create
from mlx_ollama.store.blobs import Digest
from mlx_ollama.store.store import Store
from tests.fakes.gguf import gguf


async def upload(store: Store, content: bytes) -> Digest:
    """The digest of a blob that is in the store now."""

    async def body() -> AsyncGenerator[bytes]:
        yield content

    digest = Digest(f"sha256:{hashlib.sha256(content).hexdigest()}")
    await store.blobs.receive(digest, body())
    return digest


async def run_create(store: Store, request: Mapping[str, Any]) -> list[Progress]:
    """All lines of a create; its error is raised."""
    return [line async for line in create(msgspec.convert(request, CreateRequest), store)]


async def add_model(store: Store, name: str = "tiny", **request: Any) -> None:
    """A model of a few hundred bytes."""
    digest = await upload(store, gguf())
    await run_create(store, {"model": name, "files": {"tiny.gguf": digest}} | request)
