"""One blob to a registry: mounted, or in chunks that go on where a broken one ended."""

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncIterator, Callable
from urllib.parse import urlencode, urlsplit, urlunsplit

from mlx_ollama.errors import NotFound, UpstreamError
from mlx_ollama.registry.client import Repository, check_status
from mlx_ollama.registry.patience import RegistryError, may_pass
from mlx_ollama.store.blobs import Blobs
from mlx_ollama.store.durable import open_regular
from mlx_ollama.store.manifests import Layer
from mlx_ollama.store.names import ModelName

_READ_BYTES = 1 << 20
_RANGE = re.compile(r"(?:bytes=)?0-(\d+)")


CHUNK_BYTES = 100_000_000


class Upload:
    """`completed` counts bytes the registry has been sent; `moved` is set whenever it changes.

    Invariant: `_position` bytes are the registry's, as it has said itself.
    """

    def __init__(
        self, repository: Repository, blobs: Blobs, layer: Layer, chunk_bytes: int = 0
    ) -> None:
        self._repository, self._blobs, self._layer = repository, blobs, layer
        self._chunk_bytes = chunk_bytes or CHUNK_BYTES
        self._position = 0
        self._place = ""
        self._sums: list[bytes] = []  # MD5 of each chunk, for registries that store in parts
        self.completed = 0
        self.moved = asyncio.Event()

    async def run(self) -> None:
        """Until the registry has the blob. NotFound (not here), UpstreamError."""
        if not await self._repository.has_blob(self._layer.digest):
            await self._send()
        self._report(self._layer.size)

    def _report(self, completed: int) -> None:
        self.completed = max(self.completed, completed)
        self.moved.set()

    async def _send(self) -> None:
        status, self._place = await self._repository.start_upload(self._mount())
        if status == 201:
            return
        try:
            descriptor = await asyncio.to_thread(open_regular, self._blobs.path(self._layer.digest))
        except FileNotFoundError as error:
            raise NotFound(f'blob "{self._layer.digest}" not found') from error
        try:
            while self._position < self._layer.size:
                end = min(self._position + self._chunk_bytes, self._layer.size)
                await self._with_patience(descriptor, end)
            await self._close()
        finally:
            os.close(descriptor)

    def _mount(self) -> str:
        """A layer inherited from a model of the same registry may be mounted from there."""
        if not self._layer.from_:
            return ""
        try:
            source = ModelName.parse(self._layer.from_)
        except Exception:  # noqa: BLE001 - a name written by others; without it we upload
            return ""
        if source.host != self._repository.name.host:
            return ""
        origin = f"{source.namespace}/{source.model}"
        return "?" + urlencode({"mount": self._layer.digest, "from": origin})

    async def _with_patience(self, descriptor: int, end: int) -> None:
        """One chunk, tried again after failures that may pass."""
        failures = 0
        while self._position < end:
            before = self._position
            try:
                await self._chunk(descriptor, end)
            except UpstreamError as error:
                is_elsewhere = isinstance(error, RegistryError) and error.status == 416
                if not (may_pass(error) or is_elsewhere):
                    raise
                failures += 1
                await self._repository.patience.pause(failures, error)
                await self._ask_position()
            failures = 0 if self._position > before else failures

    async def _chunk(self, descriptor: int, end: int) -> None:
        start, md5 = self._position, hashlib.md5(usedforsecurity=False)
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(end - start),
            "Content-Range": f"{start}-{end - 1}",
            "X-Redirect-Uploads": "1",
        }
        body = self._body(descriptor, start, end, md5.update)
        async with self._repository.request("PATCH", self._place, headers, body) as reply:
            elsewhere = reply.headers.get("location", "") if reply.status == 307 else ""
            if not elsewhere:
                check_status(reply)
            self._place = (
                self._repository.upload_place(reply, self._place)
                if not elsewhere
                else (reply.headers.get("docker-upload-location") or self._place)
            )
        if elsewhere:
            md5 = hashlib.md5(usedforsecurity=False)
            await self._put_elsewhere(
                elsewhere, self._body(descriptor, start, end, md5.update), end - start
            )
        self._sums.append(md5.digest())
        self._position = end
        self._report(end)

    async def _put_elsewhere(
        self, url: str, body: Callable[[], AsyncIterator[bytes]], length: int
    ) -> None:
        """A chunk to the storage that the registry names, with nothing of ours that is secret."""
        headers = {"Content-Length": str(length)}
        async with self._repository.http.send("PUT", url, headers, body) as reply:
            check_status(reply)

    def _body(
        self, descriptor: int, start: int, end: int, update: Callable[[bytes], None]
    ) -> Callable[[], AsyncIterator[bytes]]:
        async def read() -> AsyncIterator[bytes]:
            position = start
            while position < end:
                size = min(_READ_BYTES, end - position)
                data = await asyncio.to_thread(os.pread, descriptor, size, position)
                if not data:
                    raise UpstreamError("a blob is shorter than its manifest says")
                update(data)
                position += len(data)
                yield data
                self._report(position)

        return read

    async def _ask_position(self) -> None:
        await self._repository.patience.insist(self._position_now)

    async def _position_now(self) -> None:
        """How much of a broken upload has arrived; from the start when the registry has forgotten it."""
        async with self._repository.request("GET", self._place) as reply:
            match = _RANGE.fullmatch(reply.headers.get("range", ""))
            if reply.status == 204 and match:
                arrived = int(match[1]) + 1
                self._position = arrived if arrived > 1 else 0
                self._place = self._repository.upload_place(reply, self._place)
                return
        _, self._place = await self._repository.start_upload()
        self._position, self._sums = 0, []

    async def _close(self) -> None:
        parts = urlsplit(self._place)
        etag = hashlib.md5(b"".join(self._sums), usedforsecurity=False).hexdigest()
        extra = {"digest": str(self._layer.digest), "etag": f"{etag}-{len(self._sums)}"}
        query = "&".join(filter(None, (parts.query, urlencode(extra))))
        url = urlunsplit(parts._replace(query=query))
        await self._repository.put(url, {})
