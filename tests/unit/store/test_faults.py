"""Every write of an operation fails once: the store is as it was, says why, and works again."""

import errno
import os
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from mlx_ollama.errors import StoreUnwritable
from mlx_ollama.store.store import Store
from tests.fakes.gguf import LLAMA, gguf
from tests.fakes.models import add_model, run_create, upload

pytestmark = pytest.mark.anyio
CALLS = ("write", "fsync", "rename", "replace", "mkdir")


class Fault:
    """The n-th of those system calls fails, and all that follow."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
        self.code, self.left = code, 0
        for name in CALLS:
            monkeypatch.setattr(os, name, self._failing(getattr(os, name)))

    def _failing(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def attempt(*arguments: Any, **options: Any) -> Any:
            if self.left:
                self.left -= 1
                if self.left == 0:
                    self.left = 1
                    raise OSError(self.code, os.strerror(self.code))
            return call(*arguments, **options)

        return attempt

    def positions(self) -> Iterator[int]:
        """1, 2, … each armed, and none armed between."""
        for position in range(1, 200):
            self.left = position
            yield position
            self.left = 0


async def error_of(work: Awaitable[object]) -> StoreUnwritable | None:
    try:
        await work
    except StoreUnwritable as error:
        return error
    return None


def contents(store: Store) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in store.root.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (errno.ENOSPC, "no space left on device"),
        (errno.EDQUOT, "no space left on device"),
        (errno.EROFS, "model store is read-only"),
        (errno.EACCES, "model store is read-only"),
    ],
)
async def test_a_create_that_cannot_write_changes_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, code: int, text: str
) -> None:
    await add_model(store)
    digest = await upload(store, gguf({**LLAMA, "general.name": "other"}))
    before = contents(store)
    fault = Fault(monkeypatch, code)
    failures = 0
    for _ in fault.positions():
        error = await error_of(
            run_create(store, {"model": "tiny", "files": {"a.gguf": digest}, "system": "s"})
        )
        fault.left = 0
        model = store.resolve("tiny")
        assert all(store.blobs.hash(digest) == digest for digest in model.manifest.digests())
        if error is None:
            break
        assert str(error).startswith(text)
        failures += 1
        if model.system:  # the last step of all: the manifest is there, its folder was not synced
            break
        assert contents(store) == before
    assert failures > 8
    assert store.resolve("tiny").system == "s"


async def test_an_upload_that_cannot_write_leaves_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = Fault(monkeypatch, errno.ENOSPC)
    failures = 0
    for _ in fault.positions():
        error = await error_of(upload(store, b"x" * 1000))
        if error is None:
            break
        assert str(error).startswith("no space left on device")
        assert contents(store) == {}
        failures += 1
    assert failures > 3


async def test_other_troubles_of_the_disk_are_not_called_a_full_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    Fault(monkeypatch, errno.EIO).left = 4
    with pytest.raises(OSError, match="Input/output error"):
        await upload(store, b"x")
