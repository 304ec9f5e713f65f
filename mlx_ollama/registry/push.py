"""Push: every blob the registry lacks, then the manifest, byte for byte (contract 20)."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator

from mlx_ollama.api.models import Progress
from mlx_ollama.errors import CorruptData, InvalidName, NotFound, UpstreamError
from mlx_ollama.registry.access import Access, repository_of
from mlx_ollama.registry.client import Repository
from mlx_ollama.registry.http import ConnectionFailed
from mlx_ollama.registry.upload import Upload
from mlx_ollama.store.manifests import Layer, Manifest, parse_manifest
from mlx_ollama.store.names import ModelName, split_name
from mlx_ollama.store.store import Store

Lines = AsyncGenerator[Progress, None]
_TENSOR_STREAMS = 4
_TICK_SECONDS = 0.06


async def push(store: Store, target: str, access: Access) -> Lines:
    """Progress lines in Ollama's words, the last is `success`. NotFound, UpstreamError."""
    yield Progress(status="retrieving manifest")
    try:
        name, content = await asyncio.to_thread(_read, store, target)
        manifest = parse_manifest(content)
    except (InvalidName, NotFound, CorruptData) as error:
        yield Progress(status="couldn't retrieve manifest")
        raise _absent(target, error) from error
    async with repository_of(name, access) as repository:
        async with contextlib.aclosing(_send(store, repository, manifest)) as lines:
            async for line in lines:
                yield line
        yield Progress(status="pushing manifest")
        await repository.put_manifest(content, manifest.media_type)
    yield Progress(status="success")


def _read(store: Store, target: str) -> tuple[ModelName, bytes]:
    """The name as it was asked for (its scheme, its spelling) and the manifest's bytes."""
    name = ModelName.parse(target)
    stored = store.manifests.existing(name)
    if stored is None:
        raise NotFound(f"model '{target}' not found")
    return name, store.manifests.read_bytes(stored)


def _absent(target: str, error: Exception) -> Exception:
    if isinstance(error, CorruptData):
        return error
    parts = split_name(target).completed()
    full = f"{parts.host}/{parts.namespace}/{parts.model}:{parts.tag}"
    is_name = parts.is_valid()
    return NotFound(f"model '{target}' not found" if is_name else f"unqualified name: {full}")


async def _send(store: Store, repository: Repository, manifest: Manifest) -> Lines:
    try:
        await repository.choose_scheme()
    except ConnectionFailed as error:
        raise UpstreamError(f'Get "https://{repository.name.host}/v2/": {error}') from error
    layers = list({one.digest: one for one in [*manifest.layers, manifest.config]}.values())
    uploads = [(layer, Upload(repository, store.blobs, layer)) for layer in layers]
    sending = _together if manifest.of_kind("tensor") else _one_by_one
    async with contextlib.aclosing(sending(uploads)) as lines:
        async for line in lines:
            yield line


async def _one_by_one(uploads: list[tuple[Layer, Upload]]) -> Lines:
    for layer, upload in uploads:
        task = asyncio.create_task(upload.run())
        try:
            while not task.done():
                await asyncio.wait([task], timeout=_TICK_SECONDS)
                if not task.done() and upload.completed:
                    yield _line(layer, upload.completed)
            task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        yield _line(layer, layer.size)


def _line(layer: Layer, completed: int) -> Progress:
    return Progress(
        status=f"pushing {layer.digest.hex[:12]}",
        digest=str(layer.digest),
        total=layer.size,
        completed=completed,
    )


async def _together(uploads: list[tuple[Layer, Upload]]) -> Lines:
    """Hundreds of small layers: several at a time, one bar."""
    total = sum(layer.size for layer, _ in uploads)
    waiting = iter(uploads)
    workers = [asyncio.create_task(_work(waiting)) for _ in range(_TENSOR_STREAMS)]
    try:
        pending = set(workers)
        while pending:
            done, pending = await asyncio.wait(
                pending, timeout=_TICK_SECONDS, return_when=asyncio.FIRST_EXCEPTION
            )
            for worker in done:
                worker.result()
            completed = sum(upload.completed for _, upload in uploads)
            yield Progress(
                status="pushing model", digest="sha256:model", total=total, completed=completed
            )
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


async def _work(waiting: Iterator[tuple[Layer, Upload]]) -> None:
    for _, upload in waiting:
        await upload.run()
