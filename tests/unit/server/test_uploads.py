"""Blobs: streamed to the disk, and nothing left of those that end early."""

import asyncio
import hashlib
from pathlib import Path

import pytest

from tests.fakes.site import site

pytestmark = pytest.mark.anyio
CONTENT = b"x" * 3_000_000
DIGEST = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


def _files(folder: Path) -> set[str]:
    return {path.name for path in (folder / "models" / "blobs").iterdir()}


async def test_a_blob_is_there_once_and_known_from_then_on(tmp_path: Path) -> None:
    async with site(tmp_path) as place:
        path = f"/api/blobs/{DIGEST}"
        assert (await place.client.head(path)).status_code == 404
        assert (await place.client.post(path, content=CONTENT)).status_code == 201
        assert (await place.client.head(path)).status_code == 200
        again = await place.client.post(path, content=CONTENT)
        assert (again.status_code, again.content) == (200, b"")


async def test_a_known_blob_is_answered_before_its_body(tmp_path: Path) -> None:
    head = (
        f"POST /api/blobs/{DIGEST} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000000\r\n\r\n"
    )
    async with site(tmp_path) as place:
        await place.client.post(f"/api/blobs/{DIGEST}", content=CONTENT)
        reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
        writer.write(head.encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        writer.close()


async def test_an_upload_that_ends_early_leaves_nothing(tmp_path: Path) -> None:
    head = (
        f"POST /api/blobs/{DIGEST} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000000\r\n\r\n"
    )
    async with site(tmp_path) as place:
        before = _files(tmp_path)
        writer = await place.connect(head.encode() + CONTENT[:2_000_000])
        while _files(tmp_path) == before:  # noqa: ASYNC110 - a file appears
            await asyncio.sleep(0.005)
        writer.close()
        while _files(tmp_path) != before:  # noqa: ASYNC110 - and goes
            await asyncio.sleep(0.005)


async def test_a_wrong_digest_is_not_kept(tmp_path: Path) -> None:
    wrong = "sha256:" + "a" * 64
    async with site(tmp_path) as place:
        before = _files(tmp_path)
        answer = await place.client.post(f"/api/blobs/{wrong}", content=CONTENT)
        assert answer.status_code == 400
        assert answer.json() == {"error": f'digest mismatch, expected "{wrong}", got "{DIGEST}"'}
        assert _files(tmp_path) == before
