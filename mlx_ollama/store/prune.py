"""Blobs that no manifest names.

Invariant: with one unreadable manifest nothing is removed, for it may name anything.
"""

import logging
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from mlx_ollama.store import lock
from mlx_ollama.store.blobs import Blobs, Digest
from mlx_ollama.store.manifests import Manifests, remove_empty

log = logging.getLogger(__name__)

GRACE_SECONDS = 3600  # an upload waits this long for the create that needs it
PARTIAL_SECONDS = 7 * 24 * 3600  # an interrupted pull this long for the next one
# Ollama's and ours, whole or not. Other files are not ours to remove.
_BLOB = re.compile(r"sha256[-:].*")
_PARTIAL = re.compile(r"sha256-[0-9a-f]{64}\.parts?")
_UPLOAD = re.compile(r"upload-[0-9a-f]{16}\.tmp")


def unneeded(manifests: Manifests, digests: Iterable[Digest]) -> set[Digest]:
    """Those of `digests` that no manifest names; none when a manifest cannot be read."""
    needed = named_digests(manifests)
    return set() if needed is None else set(digests) - needed


def named_digests(manifests: Manifests) -> set[Digest] | None:
    """Every digest that a manifest names; None when a manifest cannot be read."""
    needed: set[Digest] = set()
    for name in manifests.names():
        stored = manifests.readable(name)
        if stored is None:
            return None
        needed |= stored.manifest.digests()
    return needed


def remove_blobs(blobs: Blobs, digests: Iterable[Digest]) -> set[Digest]:
    """Remove them as far as they are regular files; those that are gone now."""
    removed: set[Digest] = set()
    for digest in digests:
        if blobs.has(digest):
            blobs.path(digest).unlink(missing_ok=True)
            removed.add(digest)
    return removed


def prune(manifests: Manifests, blobs: Blobs, now: Callable[[], float] = time.time) -> int:
    """Remove what nothing names and what is older than the grace period; how many files went."""
    if not blobs.folder.is_dir():
        return 0
    with lock.exclusive(blobs.folder) as is_ours:
        if not is_ours:
            log.info("store in use by another process, nothing pruned")
            return 0
        needed = named_digests(manifests)
        if needed is None:
            log.warning(
                "corrupt manifests detected, nothing pruned: pull the models again or delete them"
            )
            return 0
        keep = {digest.file_name for digest in needed}
        count = 0
        for path in _unneeded_files(blobs.folder, now()):
            if path.name not in keep:
                _remove(path)
                count += 1
    _remove_empty_folders(manifests.folder)
    return count


def _unneeded_files(folder: Path, now: float) -> Iterator[Path]:
    """Files of ours or Ollama's that are old, and uploads that nobody writes any more."""
    for path in folder.iterdir():
        status = path.lstat()
        is_file, is_folder = stat.S_ISREG(status.st_mode), stat.S_ISDIR(status.st_mode)
        grace = PARTIAL_SECONDS if _PARTIAL.fullmatch(path.name) else GRACE_SECONDS
        is_old = status.st_mtime < now - grace
        is_old_blob = is_file and is_old and _BLOB.fullmatch(path.name)
        is_unfinished = (is_file or is_folder) and _UPLOAD.fullmatch(path.name)
        if is_old_blob or (is_unfinished and not lock.is_held(path)):
            yield path


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _remove_empty_folders(top: Path) -> None:
    folders = [path for path in top.rglob("*") if path.is_dir() and not path.is_symlink()]
    for folder in sorted(folders, key=lambda path: len(path.parts), reverse=True):
        remove_empty(folder, top)
