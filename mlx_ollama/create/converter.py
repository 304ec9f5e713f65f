"""`python -m converters`: a checkpoint, a GGUF of floats, or an adapter, to the blobs of a created model."""

import asyncio
import contextlib
import json
import logging
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path

import msgspec
from msgspec import Struct

from mlx_ollama.errors import InvalidRequest, MlxOllamaError, StoreUnwritable
from mlx_ollama.ipc import child
from mlx_ollama.store import threads
from mlx_ollama.store.durable import writing

log = logging.getLogger(__name__)

MAX_COMPLAINT = 4096  # bytes of standard error that are kept for the log
_NO_ROOM = ("not enough disk space", "no space left on device", "disk quota exceeded")


class Step(Struct):
    """A line of the converter's: bytes done of all, or what was wrong."""

    completed: int = 0
    total: int = 0
    error: str = ""


async def import_blobs(
    files: Mapping[str, Path], workspace: Path, quantize: str = ""
) -> AsyncGenerator[Step]:
    """Make the blobs of `files` (by their names in the source) in the folder `blobs` of a workspace.

    Ends the converter when its reader goes away. `InvalidRequest` for a bad source; `StoreUnwritable`.
    """
    listing = await _list(workspace / "files.json", files)
    arguments = ["import", "--quantize", quantize, "--progress", "json", "--", listing]
    async with aclosing(_run([*arguments, str(workspace / "blobs")])) as steps:
        async for step in steps:
            yield step


async def fit_adapter(files: Mapping[str, Path], base: Mapping[str, Path], workspace: Path) -> None:
    """Hold an adapter against the files of its model; what it becomes, if that is another file, is in the folder
    `blobs` of a workspace. `InvalidRequest` where it does not fit; `StoreUnwritable`.
    """
    source = await _list(workspace / "adapter.json", files)
    model = await _list(workspace / "files.json", base)
    arguments = ["adapter", "--progress", "json", "--", source, model, str(workspace / "blobs")]
    async with aclosing(_run(arguments)) as steps:
        async for _ in steps:
            pass


async def _list(path: Path, files: Mapping[str, Path]) -> str:
    """The names and paths of files, for the converter."""
    text = json.dumps({name: str(file) for name, file in files.items()})
    await threads.run(lambda: _write(path, text))
    return str(path)


def _write(path: Path, text: str) -> None:
    with writing(path.parent, len(text)):
        path.write_text(text)


async def _run(arguments: list[str]) -> AsyncGenerator[Step]:
    process = await asyncio.create_subprocess_exec(
        *child.command("converters", *arguments, watches="stdin"),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env=child.environment(),
        cwd="/",
        start_new_session=True,
    )
    complaint = asyncio.create_task(_last_words(process))
    try:
        async with aclosing(_steps(process)) as steps:
            async for step in steps:
                yield step
        if await process.wait():
            raise _failure("", process.returncode)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        words = await complaint
        if process.returncode and words:
            log.error("import failed: %s", words)


async def _steps(process: Process) -> AsyncGenerator[Step]:
    assert process.stdout is not None
    async for line in process.stdout:
        try:
            step = msgspec.json.decode(line, type=Step)
        except msgspec.MsgspecError:
            continue
        if step.error:
            await process.wait()
            raise _failure(step.error, process.returncode)
        yield step


async def _last_words(process: Process) -> str:
    assert process.stderr is not None
    words = b""
    while data := await process.stderr.read(MAX_COMPLAINT):
        words = (words + data)[-MAX_COMPLAINT:]
    return words.decode(errors="replace").strip()


def _failure(error: str, status: int | None) -> MlxOllamaError:
    if not error:
        return MlxOllamaError(f"the conversion has unexpectedly stopped: exit status {status}")
    return StoreUnwritable(error) if error.startswith(_NO_ROOM) else InvalidRequest(error)
