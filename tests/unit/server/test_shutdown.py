"""How the server ends, and what clients that wait for it read."""

import asyncio
import signal
from pathlib import Path

import pytest

from mlx_ollama.server import serve
from tests.fakes.runner import Script
from tests.fakes.site import site

pytestmark = pytest.mark.anyio


async def test_an_answer_under_way_may_finish(tmp_path: Path) -> None:
    async with site(tmp_path, Script(times=20, delay=0.01)) as place:
        asked = asyncio.create_task(place.lines("/api/generate", model="m", prompt="x"))
        await place.journalled("request")
        place.server.handle_exit(signal.SIGTERM, None)
        lines = await asked
    assert lines[-1]["done"] is True
    assert len(lines) == 61


async def test_an_answer_that_does_not_finish_ends_with_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "GRACE_SECONDS", 0.2)
    async with site(tmp_path, Script(trouble="wait", after=1)) as place:
        asked = asyncio.create_task(place.lines("/api/generate", model="m", prompt="x"))
        await place.journalled("wait")
        place.server.handle_exit(signal.SIGTERM, None)
        assert (await asked)[-1] == {"error": "server is shutting down"}


async def test_nobody_new_is_let_in(tmp_path: Path) -> None:
    async with site(tmp_path, Script(trouble="wait", after=1)) as place:
        asked = asyncio.create_task(place.lines("/api/generate", model="m", prompt="x"))
        await place.journalled("wait")
        place.server.handle_exit(signal.SIGTERM, None)
        answer = await place.post("/api/generate", model="m", prompt="x")
        assert (answer.status_code, answer.json()) == (503, {"error": "server is shutting down"})
        place.server.handle_exit(signal.SIGTERM, None)
        asked.cancel()
