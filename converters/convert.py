"""The whole conversion: inventory → plan → stream of tensors → sink."""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Generator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from converters import VERSION, inventory
from converters.dtypes import Dtype, Progress, is_compact, stored_dtype
from converters.errors import NoRoom, SourceError
from converters.gguf.metadata_files import small_files
from converters.plan import PROCESSOR, Plan, array_specs, plan
from converters.processes import is_alive
from converters.sinks import write_shards
from converters.stream import stream

SPARE_BYTES = 64 << 20  # left free on the disk, beyond the result
_BLOB = re.compile(r"sha256[-:]([0-9a-f]{64})")


def convert(
    sources: Sequence[Path],
    out: Path,
    *,
    projectors: Sequence[Path] = (),
    dtype: Dtype | None = None,
    compact: bool | None = None,
    progress: Progress | None = None,
) -> None:
    """Write `sources` (the files of one model) as an mlx-lm directory `out`, which must not exist.

    `projectors`: the files of vision towers that are not in the model's own.

    `dtype` is that of float tensors, scales and biases; None: what this machine computes in
    (bf16 with Metal, f32 without). `compact`: requantise block formats that MLX cannot hold exactly (Q6_K …)
    instead of keeping them as floats; None: unless the dtype is f32. `out` appears complete (temp + fsync + rename) or not at all.
    Raises SourceError.
    """
    if out.exists():
        raise SourceError("the output folder exists already")
    report = progress or (lambda *_: None)
    report("reading", 0, 0)
    stored = stored_dtype(dtype)
    made = plan(
        inventory.read(sources),
        compact=is_compact(stored, compact),
        projectors=tuple(inventory.read([path]) for path in projectors),
    )
    with _folder_in_the_making(out) as folder:
        _write(made, stored, folder, report)
    report("done", made.inventory.size, made.inventory.size)


def _write(made: Plan, dtype: str, folder: Path, report: Progress) -> None:
    specs = [spec for output in made.outputs for spec in array_specs(output, dtype)]
    total = sum(spec.size for spec in specs)
    _require_room(folder, total)
    done = 0

    def count(size: int) -> None:
        nonlocal done
        done += size
        report("converting", done, total)

    for name, content in small_files(made.inventory, made.config).items():
        _write_file(folder / name, content)
    _write_json(folder / "config.json", made.config)
    if made.processor:
        _write_json(folder / PROCESSOR, made.processor)
    report("converting", 0, total)
    write_shards(specs, stream(made, dtype), folder, count)
    report("finishing", total, total)
    _write_json(folder / "conversion.json", _record(made, dtype))


def _record(made: Plan, dtype: str) -> dict[str, Any]:
    """What this directory was made of and by."""
    files = [{"sha256": digest(path), "size": path.stat().st_size} for path in made.inventory.files]
    return {
        "converter_version": VERSION,
        "dtype": dtype,
        "architecture": made.inventory.architecture,
        "file_type": made.inventory.file_type,
        "sources": files,
    }


def digest(path: Path) -> str:
    """SHA-256 in hex; a blob's name is its digest already."""
    named = _BLOB.fullmatch(path.name)
    if named:
        return named[1]
    running = sha256()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(1 << 20):
            running.update(piece)
    return running.hexdigest()


def _require_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size + SPARE_BYTES > free:
        raise NoRoom(
            f"not enough disk space: need {(size + SPARE_BYTES) >> 20} MiB, have {free >> 20} MiB"
        )


@contextlib.contextmanager
def _folder_in_the_making(out: Path) -> Generator[Path]:
    """A folder beside `out` that becomes it, or goes away. Those of dead processes go away too."""
    out.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(out)
    folder = out.with_name(f".{out.name}.partial-{os.getpid()}")
    folder.mkdir(mode=0o700)
    try:
        yield folder
        _sync(folder)
        folder.rename(out)
        _sync(out.parent)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _remove_abandoned(out: Path) -> None:
    for folder in out.parent.glob(f".{out.name}.partial-*"):
        pid = folder.name.rpartition("-")[2]
        if not (pid.isdigit() and is_alive(int(pid))):
            shutil.rmtree(folder, ignore_errors=True)


def _write_json(path: Path, content: Any) -> None:
    _write_file(path, json.dumps(content, indent=1, ensure_ascii=False).encode())


def _write_file(path: Path, content: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
