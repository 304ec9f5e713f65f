"""Content-addressed blobs: `blobs/sha256-<64 hex>`.

Invariants: a `Digest` is valid, so it is safe as a file name; a blob appears under its digest only when its
bytes are hashed and on the disk. Everything here blocks but `receive`.
"""

import hashlib
import os
import re
import shutil
import stat
from collections.abc import AsyncIterable, AsyncIterator, Generator, Iterable
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Self

from mlx_ollama.errors import (
    CorruptData,
    InvalidDigest,
    InvalidRequest,
    NotFound,
    StoreUnwritable,
)
from mlx_ollama.store import lock, threads
from mlx_ollama.store.durable import (
    file_mode,
    make_folder,
    open_regular,
    read_regular,
    sync_file,
    sync_folder,
    writing,
)

MAX_SMALL_BLOB = 64 << 20  # a template, licence, configuration, tokenizer.json …
CHUNK_BYTES = 1 << 20
_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")
_ADDRESS = re.compile(r"sha256[:-]([0-9a-fA-F]{64})")


class Digest(str):
    """The SHA-256 of a blob as `sha256:<64 lower-case hex digits>`; the text is its only state."""

    __slots__ = ()

    def __new__(cls, text: object) -> Self:
        """From `sha256:<hex>` or `sha256-<hex>`; `InvalidDigest` for anything else of any type."""
        match = _DIGEST.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise InvalidDigest
        return super().__new__(cls, f"sha256:{match[1]}")

    @classmethod
    def of(cls, content: bytes) -> Self:
        return cls(f"sha256:{hashlib.sha256(content).hexdigest()}")

    @property
    def hex(self) -> str:
        return self[len("sha256:") :]

    @property
    def file_name(self) -> str:
        return f"sha256-{self.hex}"


def address_hex(address: str) -> str:
    """The hex of a digest as an address spells it, in either case; `InvalidDigest` when it is none."""
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise InvalidDigest
    return match[1]


class BlobWriter:
    """One blob being written. Use as a context: what is not committed when it ends is removed.

    `write` and `commit` block; `commit` may be called once.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._hash = hashlib.sha256()
        self.size = 0
        self._path = folder / temporary_name()

    def __enter__(self) -> Self:
        with writing(self._folder):
            make_folder(self._folder)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self._descriptor = os.open(self._path, flags, 0o600)
        lock.hold(self._descriptor)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
        self._path.unlink(missing_ok=True)

    def write(self, chunk: bytes | memoryview) -> None:
        self._hash.update(chunk)
        view = memoryview(chunk)
        with writing(self._folder, self.size + len(view)):
            while view:
                count = os.write(self._descriptor, view)
                view = view[count:]
                self.size += count

    @property
    def digest(self) -> Digest:
        """Of what was written so far."""
        return Digest(f"sha256:{self._hash.hexdigest()}")

    def commit(self, expected: str | None = None) -> Digest:
        """Make the blob appear. `expected` is the digest as the client spelled it, compared as text."""
        digest = self.digest
        if expected is not None and expected != str(digest):
            raise InvalidRequest(f'digest mismatch, expected "{expected}", got "{digest}"')
        with writing(self._folder, self.size):
            os.fchmod(self._descriptor, file_mode(self._folder))
            sync_file(self._descriptor)
            self._appear(self._folder / digest.file_name)
        return digest

    def _appear(self, target: Path) -> None:
        """Under its own name, over a damaged one too. What is not durable is not there."""
        is_new = not target.exists()
        self._path.rename(target)
        try:
            sync_folder(self._folder)
        except OSError:
            if is_new:
                target.unlink()
            raise


def temporary_name() -> str:
    """Of a file in the making; Ollama removes such files too, once they are an hour old."""
    return f"upload-{os.urandom(8).hex()}.tmp"


def touch(path: Path) -> None:
    """Mark as just used: nothing younger than the grace period is ever pruned."""
    with suppress(OSError):
        os.utime(path, follow_symlinks=False)


class Blobs:
    """The blobs folder of a store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, digest: Digest) -> Path:
        return self.folder / digest.file_name

    def has(self, digest: Digest) -> bool:
        """Whether it is here, as a regular file."""
        return self._status(digest) is not None

    def is_whole(self, digest: Digest, size: int) -> bool:
        """Whether it is here with that size; its content is not looked at."""
        status = self._status(digest)
        return status is not None and status.st_size == size

    def _status(self, digest: Digest) -> os.stat_result | None:
        try:
            status = os.lstat(f"{self.folder}/{digest.file_name}")
        except (FileNotFoundError, NotADirectoryError):
            return None
        return status if stat.S_ISREG(status.st_mode) else None

    def has_address(self, address: str) -> bool:
        """As `has`, for an address from a client; digests in upper case are well formed but never here."""
        text = address_hex(address)
        return text == text.lower() and self.has(Digest(f"sha256:{text}"))

    def size(self, digest: Digest) -> int:
        """Bytes; `NotFound` when it is not here."""
        status = self._status(digest)
        if status is None:
            raise NotFound(f'blob "{digest}" not found')
        return status.st_size

    def read(self, digest: Digest, limit: int = MAX_SMALL_BLOB) -> bytes:
        """A small blob's bytes; `NotFound`, or `CorruptData` when it is no file or larger than `limit`."""
        try:
            return read_regular(self.path(digest), limit)
        except FileNotFoundError as error:
            raise NotFound(f'blob "{digest}" not found') from error
        except CorruptData as error:
            raise CorruptData(
                f"model data is corrupted (blob {digest.file_name}): {error}"
            ) from error

    def put(self, content: bytes) -> tuple[Digest, bool]:
        """Store a small blob; whether it is new. One that is here already is marked as just used."""
        digest = Digest.of(content)
        if self.has(digest):
            touch(self.path(digest))
            return digest, False
        with self.writer() as writer:
            writer.write(content)
            writer.commit()
        return digest, True

    def writer(self) -> BlobWriter:
        return BlobWriter(self.folder)

    @contextmanager
    def workspace(self) -> Generator[Path]:
        """A folder on the store's file system for another process to make blobs in; gone afterwards."""
        folder = self.folder / temporary_name()
        with writing(self.folder):
            make_folder(self.folder)
            folder.mkdir(0o700)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            lock.hold(descriptor)
            yield folder
        finally:
            os.close(descriptor)
            shutil.rmtree(folder, ignore_errors=True)

    def adopt(self, folder: Path, digests: Iterable[Digest]) -> set[Digest]:
        """Take over files of a workspace that are called by the digests they were hashed to when written, and
        are on the disk. Those that were not here before. `CorruptData` for what is no file."""
        new: set[Digest] = set()
        with writing(self.folder):
            for digest in dict.fromkeys(digests):
                os.close(open_regular(folder / digest.file_name))
                if self.is_whole(digest, (folder / digest.file_name).stat().st_size):
                    touch(self.path(digest))
                    continue
                (folder / digest.file_name).chmod(file_mode(self.folder))
                (folder / digest.file_name).rename(self.path(digest))
                new.add(digest)
            sync_folder(self.folder)
        return new

    def hash(self, digest: Digest) -> Digest:
        """What the bytes of a blob really hash to; reads all of it."""
        found = hashlib.sha256()
        with os.fdopen(open_regular(self.path(digest)), "rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                found.update(chunk)
        return Digest(f"sha256:{found.hexdigest()}")

    async def receive(
        self, address: str, chunks: AsyncIterable[bytes], length: int | None = None
    ) -> bool:
        """Store an upload under the address a client gave; whether it is new.

        One that is here is not read again, unless `length` (bytes) shows that what is here is damaged.
        Writes in threads, in pieces of 1 MiB, so memory does not grow with the blob. An upload that ends early
        or fails leaves nothing. `InvalidDigest`; `InvalidRequest` for a mismatch; `StoreUnwritable`.
        """
        if self.has_address(address):
            digest = Digest(address)
            if length is None or self.is_whole(digest, length):
                touch(self.path(digest))
                return False
        writer = self.writer()
        await threads.run(writer.__enter__)
        try:
            self._require_room(length)
            async for piece in _in_pieces(chunks):
                await threads.run(partial(writer.write, piece))
            await threads.run(partial(writer.commit, address))
        finally:
            await threads.run(writer.__exit__)
        return True

    def _require_room(self, length: int | None) -> None:
        """Refuse before the client has sent gigabytes in vain."""
        free = shutil.disk_usage(self.folder).free
        if length is not None and length > free:
            raise StoreUnwritable(f"no space left on device (need {length} bytes, have {free})")


async def _in_pieces(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in fewer, larger pieces."""
    buffer = bytearray()
    async for chunk in chunks:
        buffer += chunk
        if len(buffer) >= CHUNK_BYTES:
            yield bytes(buffer)
            buffer.clear()
    if buffer:
        yield bytes(buffer)
