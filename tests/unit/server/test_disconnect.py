"""A client that leaves stops what it asked for, wherever that is."""

import asyncio
import json
from pathlib import Path

import pytest

from mlx_ollama.server import guard
from tests.fakes.runner import Script
from tests.fakes.site import Site, site

pytestmark = pytest.mark.anyio


async def _leave(place: Site, body: dict[str, object], after: str) -> None:
    """Ask, wait for a line in the journal, and hang up."""
    text = json.dumps({"model": "m", "prompt": "x"} | body).encode()
    head = b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
    _, writer = await asyncio.open_connection("127.0.0.1", place.port)
    writer.write(head % len(text) + text)
    await place.journalled(after)
    writer.close()


@pytest.mark.parametrize("stream", [True, False])
async def test_generation_stops(tmp_path: Path, stream: bool) -> None:
    async with site(tmp_path, Script(trouble="wait", after=1)) as place:
        await _leave(place, {"stream": stream}, after="wait")
        assert await place.journalled("abort")


async def test_a_request_before_its_first_token_stops(tmp_path: Path) -> None:
    async with site(tmp_path, Script(trouble="wait", after=0)) as place:
        await _leave(place, {}, after="wait")
        assert await place.journalled("abort")


async def test_a_load_that_nobody_waits_for_ends(tmp_path: Path) -> None:
    async with site(tmp_path, Script(load_trouble="wait")) as place:
        await _leave(place, {}, after="load")
        await place.runner_ended()


async def test_a_queued_request_never_reaches_the_runner(tmp_path: Path) -> None:
    async with site(tmp_path, Script(trouble="wait", after=1, parallel=1)) as place:
        first = asyncio.create_task(place.post("/api/generate", model="m", prompt="one"))
        await place.journalled("wait")
        await _leave(place, {"prompt": "two"}, after="wait")
        first.cancel()
        await place.journalled("abort")
        assert len(place.journal("request")) == 1


async def test_a_client_that_never_reads_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "UNREAD_SECONDS", 0.05)
    async with site(tmp_path, Script(say=["x" * 4000], times=5000)) as place:
        body = b'{"model":"m","prompt":"x"}'
        head = b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
        writer = await place.connect(head % len(body) + body)
        await place.journalled("abort")
        writer.close()
