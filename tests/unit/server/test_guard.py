"""Heads that are too large, too slow or malformed, and what looks like another protocol."""

import asyncio
from pathlib import Path

import pytest

from mlx_ollama.server import guard
from tests.fakes.site import site

pytestmark = pytest.mark.anyio

GET = b"GET /api/version HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /api/show HTTP/1.1\r\nHost: localhost\r\n"
REFUSED = {
    "a head of 70 KB": (GET + b"X: " + b"a" * 70_000 + b"\r\n\r\n", 431),
    "129 fields": (GET + b"".join(b"X%d: 1\r\n" % n for n in range(128)) + b"\r\n", 431),
    "an address of 9 KB": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 431),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", 400),
    "an absolute address": (b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "two lengths": (POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}", 400),
    "length and chunks": (
        POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "a negative length": (POST + b"Content-Length: -1\r\n\r\n", 400),
    "a bad chunk": (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    "a folded field": (GET + b"X: a\r\n b\r\n\r\n", 400),
    "a blank before the colon": (GET + b"X : a\r\n\r\n", 400),
    "a TLS hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "the HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_is_refused(tmp_path: Path, what: str) -> None:
    data, status = REFUSED[what]
    async with site(tmp_path) as place:
        answer = await place.raw(data)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert b'{"error":"' in answer
        assert (await place.client.get("/api/version")).status_code == 200


@pytest.mark.parametrize("start", [b"0\r\nX: ", b"0\r\n", b"1;"])
async def test_what_stands_beside_a_body_is_limited_as_a_head_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: bytes
) -> None:
    monkeypatch.setattr(guard, "MAX_HEAD_BYTES", 1000)
    head = POST + b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
    filling = b"X: 1\r\n" if start == b"0\r\n" else b"a"
    async with site(tmp_path) as place:
        reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
        writer.write(head)
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(start + filling * 1000)
        assert (await reader.read()).startswith(b"HTTP/1.1 431 ")
        writer.close()


async def test_a_body_of_many_small_chunks_is_read(tmp_path: Path) -> None:
    async with site(tmp_path) as place:
        body = b"1\r\n \r\n" * 40_000 + b"2\r\n{}\r\n0\r\n\r\n"
        chunked = POST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        answer = await place.raw(chunked + body)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"model" in answer


async def test_an_upgrade_is_answered_as_any_request(tmp_path: Path) -> None:
    upgrade = b"Connection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n"
    async with site(tmp_path) as place:
        assert b"0.33.0" in await place.raw(GET + upgrade)


async def test_a_head_that_never_ends_is_timed_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "HEAD_SECONDS", 0.05)
    async with site(tmp_path) as place:
        assert (await place.raw(GET)).startswith(b"HTTP/1.1 408 ")


async def test_a_body_that_stops_is_timed_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "BODY_IDLE_SECONDS", 0.05)
    async with site(tmp_path) as place:
        answer = await place.raw(POST + b"Content-Length: 10\r\n\r\n{")
        assert answer.startswith(b"HTTP/1.1 408 ")


async def test_a_second_request_on_a_connection_has_its_own_limits(tmp_path: Path) -> None:
    async with site(tmp_path) as place:
        small = GET + b"X: " + b"a" * 40_000 + b"\r\n\r\n"
        last = GET + b"Connection: close\r\n\r\n"
        answer = await place.raw(small + small + last)
        assert answer.count(b"HTTP/1.1 200 ") == 3
