"""A create request to layers and a manifest."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing

from mlx_ollama.api.models import CreateRequest, Progress
from mlx_ollama.conversion import Conversions
from mlx_ollama.create.base import from_model
from mlx_ollama.create.checks import Wanted, check, config_of, examine
from mlx_ollama.create.draft import Draft
from mlx_ollama.create.files import from_files
from mlx_ollama.errors import NotFound
from mlx_ollama.store import threads
from mlx_ollama.store.names import ModelName
from mlx_ollama.store.store import Store

__all__ = ["Pull", "check", "create"]

log = logging.getLogger(__name__)

Lines = AsyncGenerator[Progress]
# How an absent base is fetched: the registry's pull, as progress lines; None while there is no registry client.
Pull = Callable[[ModelName], Lines]


async def create(
    request: CreateRequest,
    store: Store,
    conversions: Conversions | None = None,
    pull: Pull | None = None,
) -> Lines:
    """Progress lines in Ollama's order and words; the last is `success` (contract 18).

    An async generator: an error raised before the first line keeps its own status, a later one is the last
    line of a 200 (with `stream: false` it keeps its status). Heavy work runs in threads. When the reader goes
    away (the generator is closed) nothing half-made stays behind.
    """
    wanted = examine(request)
    if wanted.base is not None and not await asyncio.to_thread(
        store.manifests.existing, wanted.base
    ):
        async with aclosing(_fetch(wanted.base, pull)) as lines:
            async for line in lines:
                yield line
    draft = Draft(blobs=store.blobs)
    operation = store.operation()
    await threads.run(operation.__enter__)
    try:
        async with aclosing(_build(draft, wanted, store, conversions)) as lines:
            async for line in lines:
                yield line
        draft.made.clear()
    finally:
        await threads.run(lambda: operation.__exit__(None, None, None))
        await threads.run(lambda: store.discard(draft.made))
    yield Progress(status="success")


async def _fetch(base: ModelName, pull: Pull | None) -> Lines:
    """Pull a base that is not here; its own lines, `success` included, are part of the stream."""
    if pull is None:
        yield Progress(status="pulling manifest")
        raise NotFound(
            f"pull model manifest: model '{base}' not found, and pulling is not supported yet"
        )
    async with aclosing(pull(base)) as lines:
        async for line in lines:
            yield line


async def _build(
    draft: Draft, wanted: Wanted, store: Store, conversions: Conversions | None
) -> Lines:
    """Layers and the manifest, inside a store operation."""
    draft.config = config_of(wanted.request.info)
    made = (
        from_files(draft, wanted, conversions)
        if wanted.base is None
        else from_model(draft, wanted, store)
    )
    for step in (made, threads.in_thread(_additions(draft, wanted))):
        async with aclosing(step) as lines:
            async for line in lines:
                yield line
    yield Progress(status="writing manifest")
    await threads.run(lambda: store.publish(wanted.name, draft.manifest()))


def _additions(draft: Draft, wanted: Wanted) -> Iterator[Progress]:
    """What the request says itself, over what the files or the base brought."""
    request = wanted.request
    for kind, text in (("template", request.template), ("system", request.system)):
        if text:
            draft.remove("prompt" if kind == "template" else kind)
            yield draft.replace(kind, text.encode())
    for text in wanted.licenses:
        yield draft.add_content("license", text.encode())
    yield from draft.merge_parameters(request.parameters)
    yield from draft.replace_messages(request.messages)
    for key in ("renderer", "parser", "requires"):
        draft.config[key] = getattr(request, key) or draft.config.get(key, "")
