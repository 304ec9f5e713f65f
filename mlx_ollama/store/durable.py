"""Files that are there whole or not at all, whatever ends the process or the power.

Invariant: a name appears only after its bytes are on the disk, by rename; a link is never followed.
All functions block.
"""

import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from mlx_ollama.errors import CorruptData, StoreUnwritable

_FULL = (errno.ENOSPC, errno.EDQUOT)
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
_full_sync: int | None = getattr(fcntl, "F_FULLFSYNC", None)


def sync_file(descriptor: int) -> None:
    """Bytes to the disk itself; plain fsync on macOS leaves them in the drive's cache."""
    if _full_sync is None:
        os.fsync(descriptor)
        return
    try:
        fcntl.fcntl(descriptor, _full_sync)
    except OSError:  # file systems without it, such as network ones
        os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Create it and its parents, for the owner only, or as open as the parent already is."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    outside = folder.parent.stat().st_mode & 0o055 if _is_ours(folder.parent) else 0
    with suppress(FileExistsError):
        folder.mkdir(0o700)
        folder.chmod(0o700 | outside)
        sync_folder(folder.parent)


def _is_ours(folder: Path) -> bool:
    """Whether the folder belongs to a store, whose openness new folders follow."""
    return folder.name in ("blobs", "manifests") or any(
        parent.name == "manifests" for parent in folder.parents
    )


def file_mode(folder: Path) -> int:
    """Owner only; also readable for whom a store made by Ollama is open."""
    return 0o600 | (folder.stat().st_mode & 0o044)


def replace_file(path: Path, content: bytes, temporary: Path) -> None:
    """Put `content` at `path`, whole and durable, by way of `temporary`; both folders must exist."""
    try:
        with temporary.open("xb") as file:
            os.fchmod(file.fileno(), file_mode(path.parent))
            file.write(content)
            file.flush()
            sync_file(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def open_regular(path: Path) -> int:
    """A descriptor for reading; `CorruptData` for a link, a pipe or anything else that is no file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise CorruptData("symbolic links are not allowed") from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise CorruptData("not a regular file")
    return descriptor


def read_regular(path: Path, limit: int) -> bytes:
    """The bytes of a file; `CorruptData` when it is none or has more than `limit` bytes."""
    with os.fdopen(open_regular(path), "rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise CorruptData(f"file larger than {limit} bytes")
    return content


@contextmanager
def writing(folder: Path, needed: int = 0) -> Generator[None]:
    """Turn the system's refusals to write in a folder into `StoreUnwritable`; `needed`: bytes, when known."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            have = f" (need {needed} bytes, have {_free(folder)})" if needed else ""
            raise StoreUnwritable(f"no space left on device{have}") from error
        if error.errno in _READ_ONLY:
            raise StoreUnwritable("model store is read-only") from error
        raise


def _free(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0
