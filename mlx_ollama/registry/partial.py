"""A blob that is not whole yet: its bytes, and a record of which of them are here.

`sha256-<hex>.part` is a sparse file of the full size, `sha256-<hex>.parts` says how far each part has come.
"""

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from hashlib import sha256
from pathlib import Path
from typing import Protocol, Self

from mlx_ollama.errors import UpstreamError
from mlx_ollama.store.blobs import Blobs, Digest
from mlx_ollama.store.durable import file_mode, make_folder, sync_file, sync_folder, writing

SYNC_BYTES = 64 << 20
_HEADER = struct.Struct("<8sQQ32s")  # mark, size, part size, hash of the boot
_MARK = b"mlxpart1"
_COUNTS = struct.Struct("<QQ")  # bytes here, of them surely on the disk
_READ_BYTES = 1 << 20


class _Hash(Protocol):
    def update(self, data: bytes | memoryview, /) -> None: ...


class Part:
    """Bytes `offset` to `end` of the blob; the first `done` of them are here."""

    def __init__(self, offset: int, size: int) -> None:
        self.offset, self.size = offset, size
        self.done = self.synced = 0

    @property
    def position(self) -> int:
        return self.offset + self.done

    @property
    def end(self) -> int:
        return self.offset + self.size

    @property
    def is_whole(self) -> bool:
        return self.done == self.size


class Partial:
    """Opened by one process at a time; every method blocks.

    Invariants: a part's `done` is recorded after its bytes are written, so a killed process loses none it counted;
    after a power cut (another boot) only `synced` counts, which is recorded after an fsync.
    """

    def __init__(self, blobs: Blobs, digest: Digest, size: int, part_bytes: int) -> None:
        self.size, self.digest = size, digest
        self._folder = blobs.folder
        self._target = blobs.path(digest)
        self._data_path = self._target.with_suffix(".part")
        self._record_path = self._target.with_suffix(".parts")
        self._part_bytes = part_bytes
        self._unsynced = 0
        self.parts: list[Part] = []

    def __enter__(self) -> Self:
        with ExitStack() as undo, writing(self._folder, self.size):
            make_folder(self._folder)
            self._data = _open(self._data_path)
            undo.callback(os.close, self._data)
            self._record = _open(self._record_path)
            undo.callback(os.close, self._record)
            self._lock()
            if not self._restore():
                self._begin()
            undo.pop_all()
        return self

    def _lock(self) -> None:
        try:
            fcntl.flock(self._record, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UpstreamError("another process is downloading this already") from None

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        os.close(self._data)
        os.close(self._record)

    # ---- the record

    def _split(self) -> None:
        step = self._part_bytes
        self.parts = [Part(at, min(step, self.size - at)) for at in range(0, self.size, step)]

    def _restore(self) -> bool:
        """Take up what an earlier download left; False when there is nothing that makes sense."""
        content = os.pread(self._record, 64 << 20, 0)
        if len(content) < _HEADER.size:
            return False
        mark, size, part_bytes, boot = _HEADER.unpack_from(content)
        if mark != _MARK or size != self.size or part_bytes == 0:
            return False
        if os.fstat(self._data).st_size != self.size:
            return False
        self._part_bytes = part_bytes
        self._split()
        counts = content[_HEADER.size :]
        if len(counts) != len(self.parts) * _COUNTS.size:
            return False
        is_same_boot = boot == _boot()
        for part, (done, synced) in zip(self.parts, _COUNTS.iter_unpack(counts), strict=True):
            part.done = part.synced = min(done if is_same_boot else synced, part.size)
        return True

    def _begin(self) -> None:
        self._split()
        os.ftruncate(self._record, 0)
        os.ftruncate(self._data, 0)
        os.ftruncate(self._data, self.size)
        header = _HEADER.pack(_MARK, self.size, self._part_bytes, _boot())
        os.pwrite(self._record, header + bytes(len(self.parts) * _COUNTS.size), 0)

    def _note(self, index: int) -> None:
        part = self.parts[index]
        place = _HEADER.size + index * _COUNTS.size
        os.pwrite(self._record, _COUNTS.pack(part.done, part.synced), place)

    # ---- bytes

    @property
    def done(self) -> int:
        """Bytes that are here."""
        return sum(part.done for part in self.parts)

    @property
    def frontier(self) -> int:
        """How far the bytes are here without a gap."""
        for part in self.parts:
            if not part.is_whole:
                return part.position
        return self.size

    def write(self, position: int, data: bytes | memoryview) -> None:
        """Bytes of the blob from `position` on; those that are here already are passed over."""
        with writing(self._folder, len(data)):
            for index, part, piece in self._overlaps(position, memoryview(data)):
                written = 0
                while written < len(piece):
                    written += os.pwrite(self._data, piece[written:], part.position + written)
                part.done += len(piece)
                self._unsynced += len(piece)
                self._note(index)
            if self._unsynced >= SYNC_BYTES:
                self.sync()

    def _overlaps(self, position: int, data: memoryview) -> Iterator[tuple[int, Part, memoryview]]:
        end = position + len(data)
        for index in range(position // self._part_bytes, len(self.parts)):
            part = self.parts[index]
            if part.offset >= end:
                return
            if position <= part.position < min(end, part.end):
                yield index, part, data[part.position - position : part.end - position]

    def sync(self) -> None:
        """Make sure of what has come so far."""
        counts = [part.done for part in self.parts]
        sync_file(self._data)
        self._unsynced = 0
        for index, (part, done) in enumerate(zip(self.parts, counts, strict=True)):
            if part.synced != done:
                part.synced = done
                self._note(index)

    def feed(self, running: _Hash, start: int, end: int) -> None:
        """Add bytes `start` to `end` to a hash."""
        while start < end:
            data = os.pread(self._data, min(_READ_BYTES, end - start), start)
            if not data:
                raise UpstreamError("the partial download was cut short")
            running.update(data)
            start += len(data)

    # ---- the end

    def restart(self) -> None:
        """Forget everything that came."""
        with writing(self._folder, self.size):
            self._begin()

    def discard(self) -> None:
        for path in (self._data_path, self._record_path):
            with suppress(OSError):
                path.unlink()

    def finish(self) -> None:
        """Make the blob appear; its bytes must have been verified."""
        with writing(self._folder, self.size):
            os.fchmod(self._data, file_mode(self._folder))
            sync_file(self._data)
            self._data_path.rename(self._target)
            sync_folder(self._folder)
            self._record_path.unlink(missing_ok=True)
        os.utime(self._target)


def missing_bytes(blobs: Blobs, digest: Digest, size: int) -> int:
    """What a download of a blob will still take on the disk. Blocks."""
    if blobs.has(digest):
        return 0
    with suppress(OSError):
        return max(0, size - blobs.path(digest).with_suffix(".part").stat().st_blocks * 512)
    return size


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _boot() -> bytes:
    """What tells this run of the machine from the last."""
    with suppress(OSError):
        return sha256(Path("/proc/sys/kernel/random/boot_id").read_bytes()).digest()
    import ctypes

    size = ctypes.c_size_t(64)
    name = ctypes.create_string_buffer(64)
    ctypes.CDLL(None).sysctlbyname(b"kern.bootsessionuuid", name, ctypes.byref(size), None, 0)
    return sha256(name.value).digest()
