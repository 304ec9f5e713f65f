"""Models made of files that were fetched rather than uploaded."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from mlx_ollama.api.models import CreateRequest, Progress
from mlx_ollama.conversion import Conversions
from mlx_ollama.create.create import create
from mlx_ollama.store.blobs import Digest
from mlx_ollama.store.names import ModelName
from mlx_ollama.store.store import Store

Lines = AsyncGenerator[Progress, None]


def importer(
    store: Store, conversions: Conversions
) -> Callable[[ModelName, dict[str, Digest]], Lines]:
    """What makes a model of a repository's files (file name to digest), as `create` does."""

    async def make(name: ModelName, digests: dict[str, Digest]) -> Lines:
        files = {path: str(digest) for path, digest in digests.items()}
        request = CreateRequest(model=str(name), files=files)
        async with aclosing(create(request, store, conversions)) as lines:
            async for line in lines:
                if (
                    line.status == "success"
                ):  # drop what became layers of its own before anybody leaves
                    await asyncio.to_thread(store.discard, digests.values())
                yield line

    return make
