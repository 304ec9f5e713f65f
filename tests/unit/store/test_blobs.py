import hashlib
import os
import stat
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from mlx_ollama.errors import (
    CorruptData,
    InvalidDigest,
    InvalidRequest,
    NotFound,
    StoreUnwritable,
)
from mlx_ollama.store.blobs import Digest
from mlx_ollama.store.store import Store
from tests.fakes.models import upload

pytestmark = pytest.mark.anyio
HEX = "ab" * 32
HELLO = Digest(f"sha256:{hashlib.sha256(b'hello').hexdigest()}")


@pytest.mark.parametrize(
    "value",
    [
        "", "sha256:", f"sha256:{HEX}0", f"sha256:{HEX[:-1]}", f"sha256:{HEX.upper()}",
        f"sha256:{HEX}\n", f"sha512:{HEX}", "sha256:../../../../x", "sha256-../x", f"sha256:{HEX[:-1]}\0",
        HEX, None, 7,
    ],
)  # fmt: skip
def test_what_is_no_digest_cannot_become_one(value: object) -> None:
    with pytest.raises(InvalidDigest, match=r"^invalid digest format$"):
        Digest(value)


def test_a_digest_names_one_file() -> None:
    assert Digest(f"sha256-{HEX}") == f"sha256:{HEX}"
    assert Digest(f"sha256:{HEX}").file_name == f"sha256-{HEX}"


async def chunks(*parts: bytes) -> AsyncGenerator[bytes]:
    for part in parts:
        yield part


async def unread() -> AsyncGenerator[bytes]:
    raise AssertionError("read")
    yield b""


async def test_an_upload_is_there_whole_and_for_the_owner_only(store: Store) -> None:
    previous = os.umask(0)
    try:
        assert await store.blobs.receive(HELLO, chunks(b"he", b"llo"))
    finally:
        os.umask(previous)
    path = store.blobs.path(HELLO)
    assert path.read_bytes() == b"hello"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(store.root.stat().st_mode) == 0o700


async def test_an_upload_that_is_here_is_not_read(store: Store) -> None:
    await upload(store, b"hello")
    assert not await store.blobs.receive(HELLO, unread())


async def test_a_wrong_upload_is_refused_and_not_kept(store: Store) -> None:
    with pytest.raises(InvalidRequest, match=f'expected "{HELLO}", got "sha256:'):
        await store.blobs.receive(HELLO, chunks(b"other"))
    assert list(store.blobs.folder.iterdir()) == []


async def test_an_upload_that_breaks_off_leaves_nothing(store: Store) -> None:
    async def broken() -> AsyncGenerator[bytes]:
        yield b"x" * (2 << 20)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await store.blobs.receive(HELLO, broken())
    assert list(store.blobs.folder.iterdir()) == []


async def test_other_spellings_of_a_digest_never_match(store: Store) -> None:
    await upload(store, b"hello")
    upper = f"sha256:{HELLO.hex.upper()}"
    assert not store.blobs.has_address(upper)
    for address in (upper, f"sha256-{hashlib.sha256(b'world').hexdigest()}"):
        with pytest.raises(InvalidRequest, match="digest mismatch"):
            await store.blobs.receive(address, chunks(b"world"))
    with pytest.raises(InvalidDigest):
        store.blobs.has_address("..%2fx")


async def test_a_damaged_blob_is_replaced_by_an_upload(store: Store) -> None:
    await upload(store, b"hello")
    store.blobs.path(HELLO).write_bytes(b"hel")
    assert not await store.blobs.receive(HELLO, chunks(b"hello"))
    assert await store.blobs.receive(HELLO, chunks(b"hello"), length=5)
    assert store.blobs.read(HELLO) == b"hello"


async def test_files_of_a_workspace_become_blobs(store: Store) -> None:
    old = await upload(store, b"old")
    new = Digest.of(b"new")
    with store.blobs.workspace() as folder:
        for digest, content in ((old, b"old"), (new, b"new")):
            (folder / digest.file_name).write_bytes(content)
        assert store.blobs.adopt(folder, [new, old, new]) == {new}
    assert store.blobs.read(new) == b"new"
    assert stat.S_IMODE(store.blobs.path(new).stat().st_mode) == 0o600
    assert {path.name for path in store.blobs.folder.iterdir()} == {old.file_name, new.file_name}


async def test_an_upload_that_cannot_fit_is_refused_unread(store: Store) -> None:
    with pytest.raises(StoreUnwritable, match=rf"need {1 << 60} bytes, have \d+"):
        await store.blobs.receive(HELLO, unread(), length=1 << 60)
    assert list(store.blobs.folder.iterdir()) == []


async def test_an_open_store_stays_open(store: Store) -> None:
    store.blobs.folder.mkdir(parents=True, mode=0o755)
    await upload(store, b"hello")
    assert stat.S_IMODE(store.blobs.path(HELLO).stat().st_mode) == 0o644


@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
async def test_what_is_no_file_is_no_blob(store: Store, tmp_path: Path, kind: str) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"hello")
    store.blobs.folder.mkdir(parents=True)
    path = store.blobs.path(HELLO)
    if kind == "link":
        path.symlink_to(secret)
    elif kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    assert not store.blobs.has(HELLO)
    with pytest.raises((CorruptData, NotFound)):
        store.blobs.read(HELLO)
    with pytest.raises(NotFound):
        store.blobs.size(HELLO)
