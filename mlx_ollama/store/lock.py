"""The advisory lock on a store that processes of ours share.

Invariant: blobs are removed only under the exclusive lock, and whoever relies on a blob that no manifest names
yet holds the shared one. The lock is on the folder itself, so it leaves no file in the store.
"""

import errno
import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def shared(folder: Path) -> Generator[None]:
    """Hold off removal. Blocks while another process removes, which is short."""
    descriptor = _open(folder)
    try:
        _flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def exclusive(folder: Path) -> Generator[bool]:
    """Whether nobody relies on the blobs, and so they may be removed; never blocks."""
    descriptor = _open(folder)
    try:
        yield _flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)


def _open(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _flock(descriptor: int, operation: int) -> bool:
    try:
        fcntl.flock(descriptor, operation)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.ENOLCK):  # a network file system without locks
            raise
    return True


def hold(descriptor: int) -> None:
    """Mark an open file as being written, until it is closed or its writer dies."""
    _flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_held(path: Path) -> bool:
    """Whether somebody still writes a file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return True  # gone, or none of ours
    try:
        return not _flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)
