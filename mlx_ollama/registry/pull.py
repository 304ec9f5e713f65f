"""Pull: manifest, checks, blobs, verification, manifest (contract 19)."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterable

from msgspec import Struct

from mlx_ollama.api.models import Progress
from mlx_ollama.errors import NotFound, UpstreamError
from mlx_ollama.registry.access import Access, repository_of
from mlx_ollama.registry.checks import MAX_CONFIG, check_config, check_manifest, check_room
from mlx_ollama.registry.client import Repository
from mlx_ollama.registry.download import Downloads
from mlx_ollama.registry.http import ConnectionFailed
from mlx_ollama.store.blobs import Digest
from mlx_ollama.store.manifests import Layer, Manifest
from mlx_ollama.store.names import ModelName
from mlx_ollama.store.store import Store

Lines = AsyncGenerator[Progress, None]
_TENSOR_STREAMS = 4
_TICK_SECONDS = 0.06


async def pull(store: Store, downloads: Downloads, name: ModelName, access: Access) -> Lines:
    """Progress lines in Ollama's words, the last is `success`. UpstreamError, StoreUnwritable."""
    yield Progress(status="pulling manifest")
    async with repository_of(name, access) as repository:
        content = await _manifest(repository)
        manifest = check_manifest(content)
        operation = store.operation()
        await asyncio.to_thread(operation.__enter__)
        try:
            steps = _Pull(store, downloads, repository, manifest).lines(content)
            async with contextlib.aclosing(steps) as lines:
                async for line in lines:
                    yield line
        finally:
            operation.__exit__(None, None, None)
    yield Progress(status="success")


async def _manifest(repository: Repository) -> bytes:
    try:
        await repository.choose_scheme()
        return await repository.manifest()
    except ConnectionFailed as error:
        url = f"{repository.base}/manifests/{repository.name.tag}"
        raise UpstreamError(f'pull model manifest: Get "{url}": {error}') from error
    except (NotFound, UpstreamError) as error:
        raise UpstreamError(f"pull model manifest: {error}") from error


class _Pull:
    """One model being pulled, its manifest known."""

    def __init__(
        self, store: Store, downloads: Downloads, repository: Repository, manifest: Manifest
    ) -> None:
        self._store, self._blobs = store, store.blobs
        self._downloads, self._repository = downloads, repository
        self._manifest = manifest
        self._layers = _distinct([*manifest.layers, manifest.config])
        self._was_here: set[Digest] = set()

    async def lines(self, content: bytes) -> Lines:
        await self._check()
        is_tensors = bool(self._manifest.of_kind("tensor"))
        async with contextlib.aclosing(
            self._together() if is_tensors else self._one_by_one()
        ) as lines:
            async for line in lines:
                yield line
        if not is_tensors:
            yield Progress(status="verifying sha256 digest")
        async with contextlib.aclosing(self._repair()) as lines:
            async for line in lines:
                yield line
        yield Progress(status="writing manifest")
        name = self._repository.name
        if await asyncio.to_thread(self._store.publish, name, content):
            yield Progress(status="removing unused layers")

    async def _check(self) -> None:
        """What makes the whole download pointless, first of all."""
        config = self._manifest.config
        if await asyncio.to_thread(self._is_here, config):
            content = await asyncio.to_thread(self._blobs.read, config.digest, MAX_CONFIG)
        else:
            content = await self._repository.small_blob(config.digest, MAX_CONFIG)
        check_config(content)
        await asyncio.to_thread(check_room, self._blobs, self._layers)

    def _is_here(self, layer: Layer) -> bool:
        """Whether the blob lies there in its whole size; its bytes are looked at later."""
        return self._blobs.has(layer.digest) and self._blobs.size(layer.digest) == layer.size

    async def _fetch(self, layer: Layer) -> AsyncGenerator[int, None]:
        """Bytes of a layer that are here, until all are."""
        if await asyncio.to_thread(self._is_here, layer):
            self._was_here.add(layer.digest)
            yield layer.size
            return
        url = self._repository.blob_url(layer.digest)
        counts = self._downloads.get(layer.digest, layer.size, self._repository, url, _TICK_SECONDS)
        async with contextlib.aclosing(counts):
            async for count in counts:
                yield count

    async def _one_by_one(self) -> Lines:
        for layer in self._layers:
            async with contextlib.aclosing(self._fetch(layer)) as counts:
                async for count in counts:
                    yield _line(layer, count)

    async def _together(self) -> Lines:
        """Hundreds of small layers: several at a time, one bar."""
        total = sum(layer.size for layer in self._layers)
        state = _Together()
        waiting = iter(self._layers)

        async def work() -> None:
            for layer in waiting:
                async with contextlib.aclosing(self._fetch(layer)) as counts:
                    async for count in counts:
                        state.counts[layer.digest] = count

        workers = [asyncio.create_task(work()) for _ in range(_TENSOR_STREAMS)]
        try:
            pending = set(workers)
            while pending:
                yield Progress(
                    status="pulling model", digest="sha256:model", total=total, completed=state.done
                )
                done, pending = await asyncio.wait(
                    pending, timeout=_TICK_SECONDS, return_when=asyncio.FIRST_EXCEPTION
                )
                for worker in done:
                    worker.result()
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        yield Progress(status="pulling model", digest="sha256:model", total=total, completed=total)

    async def _repair(self) -> Lines:
        """Blobs that were here already are not trusted (R-24): a damaged one is fetched again."""
        for layer in self._layers:
            if layer.digest not in self._was_here:
                continue
            if await asyncio.to_thread(self._downloads.is_sound, layer.digest):
                continue
            await asyncio.to_thread(self._blobs.path(layer.digest).unlink, missing_ok=True)
            async with contextlib.aclosing(self._fetch(layer)) as counts:
                async for count in counts:
                    yield _line(layer, count)


class _Together(Struct):
    counts: dict[Digest, int] = {}

    @property
    def done(self) -> int:
        return sum(self.counts.values())


def _line(layer: Layer, completed: int) -> Progress:
    return Progress(
        status=f"pulling {layer.digest.hex[:12]}",
        digest=str(layer.digest),
        total=layer.size,
        completed=completed,
    )


def _distinct(layers: Iterable[Layer]) -> list[Layer]:
    return list({layer.digest: layer for layer in layers}.values())
