"""One blob: ranges in parallel, resumed after any fault, hashed as it comes."""

import asyncio
import contextlib
import logging
import re
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from hashlib import sha256
from typing import Protocol

from msgspec import Struct

from mlx_ollama.errors import CorruptData, UpstreamError
from mlx_ollama.registry.client import check_status, digest_mismatch
from mlx_ollama.registry.http import ConnectionFailed, Http, Reply
from mlx_ollama.registry.partial import Part, Partial
from mlx_ollama.registry.patience import Patience, RegistryError, may_pass
from mlx_ollama.store.blobs import Blobs, Digest

_log = logging.getLogger(__name__)
_BUFFER_BYTES = 1 << 20
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class Source(Protocol):
    """Whom blobs are asked of. `request` follows redirects."""

    http: Http

    def request(
        self, method: str, url: str, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[Reply]: ...


class Pace(Struct, frozen=True, kw_only=True):
    """How a download goes about it. Sixteen parts, but none smaller or larger than these."""

    streams: int = 8
    min_part_bytes: int = 16 << 20
    max_part_bytes: int = 1 << 30
    patience: Patience = Patience()

    def part_bytes(self, size: int) -> int:
        return max(self.min_part_bytes, min(size // 16, self.max_part_bytes))


class _OtherBytes(ConnectionFailed):
    """Not the range that was asked for; a flaw of the moment, as with a cache between."""

    def __init__(self) -> None:
        super().__init__("the registry sent other bytes than those asked for")


class Download:
    """A blob of known size and digest on its way into the store.

    Invariants: a part that is here is never asked for again, unless the server knows no ranges; nothing appears
    as a blob before its bytes hash to its digest; `moved` is set whenever bytes have arrived.
    """

    def __init__(
        self, blobs: Blobs, digest: Digest, size: int, source: Source, url: str, pace: Pace
    ) -> None:
        self.digest, self.size = digest, size
        self._blobs, self._source, self._pace = blobs, source, pace
        self._url = self._direct = url
        self._partial: Partial
        self._disk = asyncio.Lock()
        self._todo: deque[Part] = deque()
        self._has_ranges = asyncio.get_running_loop().create_future()
        self.completed = 0
        self.moved = asyncio.Event()

    async def run(self) -> None:
        """Until the blob is in the store. UpstreamError, StoreUnwritable."""
        async with self._source.http.in_use():
            await self._run()

    async def _run(self) -> None:
        partial = Partial(self._blobs, self.digest, self.size, self._pace.part_bytes(self.size))
        await asyncio.to_thread(partial.__enter__)
        self._partial = partial
        try:
            was_resumed = partial.done > 0
            if not await self._fill_and_verify() and was_resumed:
                _log.warning("resumed download of %s was damaged, starting again", self.digest)
                await asyncio.to_thread(partial.restart)
                await self._fill_and_verify()
            await self._end()
        finally:
            await _to_thread_shielded(partial.close)

    async def _fill_and_verify(self) -> bool:
        """Whether what came is what was wanted."""
        self._report()
        self._todo = deque(part for part in self._partial.parts if not part.is_whole)
        self._has_ranges = asyncio.get_running_loop().create_future()
        self._found = sha256()
        self._arrived = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._hash())
                for index in range(min(self._pace.streams, len(self._todo))):
                    group.create_task(self._work(is_first=index == 0))
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return self._found.hexdigest() == self.digest.hex

    async def _end(self) -> None:
        found = Digest(f"sha256:{self._found.hexdigest()}")
        if found != self.digest:
            await asyncio.to_thread(self._partial.discard)
            raise digest_mismatch(self.digest, found)
        await _to_thread_shielded(self._partial.finish)

    def _report(self) -> None:
        self.completed = max(self.completed, self._partial.done)
        self.moved.set()

    async def _hash(self) -> None:
        """Follow what is here without a gap."""
        hashed = 0
        while hashed < self.size:
            end = self._partial.frontier
            if end == hashed:
                self._arrived.clear()
                await self._arrived.wait()
                continue
            await asyncio.to_thread(self._partial.feed, self._found, hashed, end)
            hashed = end

    # ---- moving bytes

    async def _work(self, *, is_first: bool) -> None:
        """Take parts until none is left; the first one finds out whether the server knows ranges."""
        if not is_first and not await asyncio.shield(self._has_ranges):
            return
        while self._todo:
            part = self._todo.popleft()
            await self._with_patience(part)

    async def _with_patience(self, part: Part) -> None:
        """One part, tried again after failures that may pass; whoever makes headway is not counted."""
        failures = 0
        while not part.is_whole:
            before = part.done
            try:
                await self._move(part)
                if not part.is_whole:
                    raise ConnectionFailed("the connection broke off")
            except UpstreamError as error:
                if not (may_pass(error) or self._direct != self._url):
                    raise
                self._direct = self._url  # an address that was redirected to may have expired
                has_moved = part.done - before >= min(_BUFFER_BYTES, part.size // 2 or 1)
                failures = 1 if has_moved else failures + 1
                await self._pace.patience.pause(failures, error)

    async def _move(self, part: Part) -> None:
        """Ask for what is missing of a part, and write what comes."""
        wanted = {"Range": f"bytes={part.position}-{part.end - 1}"}
        async with self._source.request("GET", self._direct, wanted) as reply:
            start = self._start_of(reply, part)
            self._direct = reply.url
            end = self.size if reply.status == 200 else part.end
            await self._write(reply.chunks(), start, end)

    def _start_of(self, reply: Reply, part: Part) -> int:
        """Where in the blob the reply's body begins."""
        if reply.status == 206:
            self._check_range(reply, part)
            self._learn(has_ranges=True)
            return part.position
        if reply.status == 200:
            self._check_length(reply)
            if self._has_ranges.done() and self._has_ranges.result():
                raise _OtherBytes
            self._learn(has_ranges=False)
            return 0
        check_status(reply)
        raise RegistryError(reply.status)

    def _learn(self, *, has_ranges: bool) -> None:
        if not self._has_ranges.done():
            self._has_ranges.set_result(has_ranges)

    def _check_range(self, reply: Reply, part: Part) -> None:
        match = _RANGE.fullmatch(reply.headers.get("content-range", ""))
        if match is None or int(match[1]) != part.position or int(match[2]) >= part.end:
            raise _OtherBytes
        if match[3] not in (str(self.size), "*"):
            raise UpstreamError(f"the blob has {match[3]} bytes, its manifest says {self.size}")

    def _check_length(self, reply: Reply) -> None:
        length = reply.headers.get("content-length", "")
        if length and (not length.isdecimal() or int(length) != self.size):
            raise UpstreamError("the blob has another size than its manifest says")
        if "text/html" in reply.headers.get("content-type", ""):
            raise UpstreamError("the registry sent a web page")

    async def _write(self, chunks: AsyncIterator[bytes], position: int, end: int) -> None:
        """Bytes to the disk as they come, in larger pieces; what has come is written whatever ends it."""
        buffer = bytearray()
        try:
            async for chunk in chunks:
                buffer += chunk
                if position + len(buffer) > end:
                    raise UpstreamError("the registry sent more than it announced")
                if len(buffer) >= _BUFFER_BYTES or position + len(buffer) == end:
                    taken, buffer = buffer, bytearray()
                    position += len(taken)
                    await self._keep(position - len(taken), taken)
        finally:
            if buffer and position + len(buffer) <= end:
                await self._keep(position, buffer)

    async def _keep(self, position: int, data: bytearray) -> None:
        async with self._disk:
            await _to_thread_shielded(self._partial.write, position, data)
        self._report()
        self._arrived.set()


async def _to_thread_shielded(function: Callable[..., None], *arguments: object) -> None:
    """In a thread, to its end even when we are cancelled: a file must not be closed under a write."""
    task = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


class _Shared:
    def __init__(self, download: Download) -> None:
        self.download = download
        self.waiters = 0
        self.task = asyncio.create_task(download.run(), name=f"download of {download.digest[:19]}")
        self.task.add_done_callback(lambda _: download.moved.set())


class Downloads:
    """Blobs on their way, one download each however many want it; the last to leave stops it."""

    def __init__(self, blobs: Blobs, pace: Pace | None = None) -> None:
        self._blobs = blobs
        self._pace = pace or Pace()
        self._running: dict[Digest, _Shared] = {}
        self._sound: dict[Digest, tuple[int, int, int]] = {}

    def is_sound(self, digest: Digest) -> bool:
        """Whether a blob that is here hashes to its digest; read once while its file stays. Blocks."""
        try:
            status = self._blobs.path(digest).lstat()
            mark = (status.st_ino, status.st_size, status.st_mtime_ns)
            if self._sound.get(digest) != mark:
                if self._blobs.hash(digest) != digest:
                    return False
                self._sound[digest] = mark
        except (CorruptData, OSError):
            return False
        return True

    async def get(
        self, digest: Digest, size: int, source: Source, url: str, interval: float = 0.06
    ) -> AsyncGenerator[int, None]:
        """Bytes that are here, about every `interval` seconds, until the blob is in the store."""
        shared = await self._join(digest, size, source, url)
        shared.waiters += 1
        try:
            while not shared.task.done():
                yield shared.download.completed
                await asyncio.sleep(interval)
                await shared.download.moved.wait()
                if not shared.task.done():
                    shared.download.moved.clear()
            shared.task.result()
            yield size
        finally:
            shared.waiters -= 1
            if not shared.waiters:
                await self._stop(shared)

    async def _join(self, digest: Digest, size: int, source: Source, url: str) -> _Shared:
        while True:
            shared = self._running.get(digest)
            if shared is None:
                download = Download(self._blobs, digest, size, source, url, self._pace)
                shared = self._running[digest] = _Shared(download)
                return shared
            if not (shared.task.done() or shared.task.cancelling()):
                return shared
            await asyncio.wait([shared.task])
            if self._running.get(digest) is shared:
                del self._running[digest]

    async def _stop(self, shared: _Shared) -> None:
        """Nobody waits any more; what has come stays for the next time."""
        shared.task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await asyncio.shield(asyncio.wait([shared.task]))
        if self._running.get(shared.download.digest) is shared:
            del self._running[shared.download.digest]
