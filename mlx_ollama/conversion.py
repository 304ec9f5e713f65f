"""A model's MLX weights: found in the derived cache, or made there by `python -m converters`."""

import asyncio
import contextlib
import logging
import os
import shutil
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from hashlib import sha256
from pathlib import Path

import msgspec
from msgspec import Struct, structs

import converters
from converters.dtypes import stored_dtype
from converters.processes import is_alive
from mlx_ollama.errors import InvalidRequest, LoadFailed
from mlx_ollama.ipc import child
from mlx_ollama.ipc.messages import Load, Progress

_log = logging.getLogger(__name__)
SPARE_BYTES = 512 << 20  # a disk is never filled to the brim
SPARED_SECONDS = 60.0  # what was used so lately may be about to be opened
# A converter that ran out of room or was denied writing: no fault of the source.
_NO_ROOM = (
    "not enough disk space",
    "no space left on device",
    "disk quota exceeded",
    "read-only file system",
    "permission denied",
    "operation not permitted",
    "input/output error",
)


class Source(Struct, frozen=True, kw_only=True):
    """What is converted: paths of GGUF parts (in order) and projectors, and the digests of both.

    `adapters` are no part of the weights.
    """

    gguf: tuple[Path, ...]
    digests: tuple[str, ...]
    projectors: tuple[Path, ...] = ()
    adapters: tuple[Path, ...] = ()


class _Line(Struct):
    """What the converter says, one JSON object a line."""

    completed: int = 0
    total: int = 0
    error: str = ""


class _SourceFile(Struct):
    sha256: str


class _Record(Struct):
    """What the converter writes beside the weights."""

    sources: list[_SourceFile]


class _NoRoom(Exception):
    """The cache cannot take it; load without."""


class _Job:
    """One conversion and those who wait for it. Cancelled by the last to leave."""

    def __init__(self) -> None:
        self.task: asyncio.Task[None]
        self.progress = Progress()
        self.waiters = 0
        self._news = asyncio.Event()

    def report(self, progress: Progress) -> None:
        self.progress = progress
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def end(self, _task: asyncio.Task[None]) -> None:
        self._tell()

    async def follow(self) -> AsyncGenerator[Progress, None]:
        """Progress as it comes, until the conversion ends; then its error is raised, if it has one."""
        self.waiters += 1
        try:
            while not self.task.done():
                news = self._news
                yield self.progress
                if not self.task.done():
                    await news.wait()
            self.task.result()
        finally:
            self.waiters -= 1
            if not self.waiters:
                self.task.cancel()


class Conversions:
    """The derived cache. `directory` is in the OS cache folder; `max_bytes` caps it (0: no cap), oldest use first.

    Invariants: a folder named by a key is complete; at most one conversion a key runs; `_reserved` is what the
    running ones will about need.
    """

    def __init__(self, directory: Path, *, max_bytes: int = 0) -> None:
        self._directory = directory / "weights"
        self._max_bytes = max_bytes
        self._jobs: dict[str, _Job] = {}
        self._reserved = 0

    async def prepare(self, load: Load, source: Source) -> AsyncGenerator[Progress | Load, None]:
        """Progress while converting, and last `load` with `directory` filled in, or with `gguf` when the cache
        cannot be written (read-only, full, over its cap). Callers of the same source share one conversion; it
        ends when the last of them closes its generator. InvalidRequest when the source cannot be converted.
        """
        key = cache_key(source.digests)
        folder = self._directory / key
        if not await asyncio.to_thread(_use, folder):
            try:
                async with contextlib.aclosing(self._join(key, source).follow()) as steps:
                    async for step in steps:
                        yield step
            except _NoRoom as reason:
                _log.warning("weights of %s are not kept: %s", load.model, reason)
                yield structs.replace(load, gguf=[str(path) for path in source.gguf])
                return
        yield structs.replace(load, directory=str(folder))

    def _join(self, key: str, source: Source) -> _Job:
        job = self._jobs.get(key)
        if job is None or job.task.done() or job.task.cancelling():
            job = self._jobs[key] = _Job()
            job.task = asyncio.create_task(self._convert(key, source, job), name="conversion")
            job.task.add_done_callback(job.end)
        return job

    async def _convert(self, key: str, source: Source, job: _Job) -> None:
        size = await asyncio.to_thread(_size, (*source.gguf, *source.projectors))
        self._reserved += size
        try:
            await asyncio.to_thread(self._make_room, size)
            await _run_converter(source, self._directory / key, job.report)
        finally:
            self._reserved -= size
            if self._jobs.get(key) is job:
                del self._jobs[key]

    def _make_room(self, size: int) -> None:
        """Raises _NoRoom when the cache cannot take `size` more bytes."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise _NoRoom(str(error.strerror).lower()) from error
        if not os.access(self._directory, os.W_OK):
            raise _NoRoom("the cache is read-only")
        _sweep(self._directory)
        if self._max_bytes:
            self._shrink(self._max_bytes - self._reserved)
        if self._reserved + SPARE_BYTES > shutil.disk_usage(self._directory).free:
            raise _NoRoom("not enough disk space")

    def _shrink(self, goal: int) -> None:
        """Remove the weights that have been unused longest until at most `goal` bytes are left."""
        entries = [(_used(path), _size([*path.iterdir()]), path) for path in self._entries()]
        total = sum(size for _, size, _ in entries)
        for used, size, path in sorted(entries):
            if total <= goal or time.time() - used < SPARED_SECONDS:
                break
            _log.info("removing weights unused for the longest time")
            _remove(path)
            total -= size
        if total > goal:
            raise _NoRoom("it is over the cache's limit")

    def forget(self, digests: Iterable[str]) -> None:
        """Remove the weights that were made of blobs which are gone. Blocks."""
        gone = {digest.removeprefix("sha256:") for digest in digests}
        if not gone or not self._directory.is_dir():
            return
        for folder in self._entries():
            if gone & _sources_of(folder):
                _remove(folder)

    def _entries(self) -> list[Path]:
        return [path for path in self._directory.iterdir() if not path.name.startswith(".")]


def cache_key(digests: Sequence[str]) -> str:
    """Of all inputs, what floats become here, and the converter that made it so."""
    parts = [*digests, stored_dtype(None), converters.VERSION]
    return sha256("\n".join(parts).encode()).hexdigest()


def _use(folder: Path) -> bool:
    """Whether the weights are there; marks them as used now."""
    if not (folder / "config.json").is_file():
        return False
    with contextlib.suppress(OSError):  # a read-only cache keeps no order
        os.utime(folder)
    return True


def _sources_of(folder: Path) -> set[str]:
    """The files that weights were made of, as the converter noted them: SHA-256 in hex."""
    try:
        record = msgspec.json.decode((folder / "conversion.json").read_bytes(), type=_Record)
    except (OSError, msgspec.MsgspecError):
        return set()
    return {source.sha256 for source in record.sources}


def _used(path: Path) -> float:
    return path.stat().st_mtime


def _size(paths: Sequence[Path]) -> int:
    return sum(path.stat().st_size for path in paths)


def _remove(path: Path) -> None:
    """Out of sight in one step, then gone: no half removed folder is ever taken for a whole one."""
    doomed = path.with_name(f".{path.name}.removed")
    with contextlib.suppress(OSError):
        path.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def _sweep(directory: Path) -> None:
    """What killed converters and removals left behind."""
    for path in directory.glob(".*"):
        pid = path.name.rpartition("-")[2]
        if path.suffix == ".removed" or (pid.isdigit() and not is_alive(int(pid))):
            shutil.rmtree(path, ignore_errors=True)


async def _run_converter(source: Source, out: Path, report: Callable[[Progress], None]) -> None:
    dtype = stored_dtype(None).lower()
    arguments = ["convert", "--dtype", dtype, "--progress", "json"]
    arguments += [f"--projector={path}" for path in source.projectors]
    paths = ["--", *map(str, source.gguf), str(out)]
    process = await asyncio.create_subprocess_exec(
        *child.command("converters", *arguments, *paths, watches="stdin"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=child.environment(),
        cwd="/",
        start_new_session=True,
    )
    try:
        error, complaint = await asyncio.gather(_listen(process, report), _last_words(process))
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        partial = out.with_name(f".{out.name}.partial-{process.pid}")
        await asyncio.to_thread(shutil.rmtree, partial, ignore_errors=True)
    if error or process.returncode:
        _log.error("conversion failed: %s %s", error, complaint)
        raise _failure(error, process.returncode)


async def _listen(process: asyncio.subprocess.Process, report: Callable[[Progress], None]) -> str:
    """Hand on progress until the converter ends; its error, if it gave one."""
    assert process.stdout is not None
    error = ""
    async for line in process.stdout:
        try:
            said = msgspec.json.decode(line, type=_Line)
        except msgspec.MsgspecError:
            continue
        error = said.error or error
        report(Progress(completed=said.completed, total=said.total))
    await process.wait()
    return error


async def _last_words(process: asyncio.subprocess.Process) -> str:
    """The end of standard error, for the log."""
    assert process.stderr is not None
    words = b""
    while data := await process.stderr.read(4096):
        words = (words + data)[-4096:]
    return words.decode(errors="replace").strip()


def _failure(error: str, status: int | None) -> Exception:
    if not error:
        return LoadFailed(f"the conversion has unexpectedly stopped: exit status {status}")
    if error.startswith(_NO_ROOM):
        return _NoRoom(error)
    return InvalidRequest(error)
