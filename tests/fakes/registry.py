"""Registries on loopback ports: Debian's real one, a proxy that plays faults in front of it, and a fake that says
whatever a test wants, for what a real one refuses to store.
"""

import asyncio
import re
import shutil
import socket
import ssl as ssl_module
import subprocess
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import pytest

REAL = shutil.which("docker-registry")
_CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {folder}}}
  delete: {{enabled: true}}
http: {{addr: 127.0.0.1:{port}{extra}}}
"""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@contextmanager
def real_registry(folder: Path) -> Generator[str]:
    """A real registry; its `host:port`. Skips the test where none is installed."""
    if REAL is None:
        pytest.skip("docker-registry is not installed")
    port = free_port()
    config = folder / "registry.yml"
    config.write_text(_CONFIG.format(folder=folder / "registry", port=port, extra=""))
    process = subprocess.Popen(
        [REAL, "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(port)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _wait_for(port: int) -> None:
    while True:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return


class Request(NamedTuple):
    """`headers` have lower-case names; `body` is whole."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def range(self) -> tuple[int, int] | None:
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("range", ""))
        return (int(match[1]), int(match[2])) if match else None


class Answer(NamedTuple):
    """`headers` are sent as they are; content-length is added unless one is there or `chunked`."""

    status: int = 200
    headers: dict[str, str] = {}
    body: bytes = b""


Writer = asyncio.StreamWriter
Handle = Callable[[Request, Writer], Awaitable[bool]]


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    try:
        begin = await reader.readexactly(1)
        if begin == b"\x16":  # TLS, which is not spoken here
            return None
        head = begin + await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    pairs = (line.partition(":") for line in lines if line)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    if headers.get("transfer-encoding") == "chunked":
        body = await _read_chunked(reader)
    else:
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, path, headers, body)


async def _read_chunked(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readuntil(b"\r\n")
    return body


def head_of(answer: Answer) -> bytes:
    headers = {"Content-Length": str(len(answer.body))} | answer.headers
    lines = [
        f"HTTP/1.1 {answer.status} X",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


@asynccontextmanager
async def serving(
    handle: Handle, ssl: ssl_module.SSLContext | None = None
) -> AsyncGenerator[str, None]:
    """Serve until the end; `handle` says whether the connection goes on. Yields `host:port`."""
    open_tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: Writer) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_tasks.add(task)
        try:
            while (request := await read_request(reader)) is not None:
                if not await handle(request, writer):
                    return
            writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            open_tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=ssl)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"{host}:{port}"
    finally:
        server.close()
        for task in open_tasks:
            task.cancel()
        if open_tasks:
            await asyncio.wait(open_tasks)


class FakeRegistry:
    """Manifests by name and blobs by digest; `say` may answer any request before they do."""

    def __init__(self) -> None:
        self.manifests: dict[str, bytes] = {}
        self.blobs: dict[str, bytes] = {}
        self.requests: list[Request] = []
        self.say: Callable[[Request], Answer | None] = lambda _: None
        self.host = ""

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["FakeRegistry", None]:
        async with serving(self.handle) as self.host:
            yield self

    def paths(self, part: str = "") -> list[str]:
        """Paths of the requests so far that contain `part`."""
        return [request.path for request in self.requests if part in request.path]

    async def handle(self, request: Request, writer: Writer) -> bool:
        self.requests.append(request)
        answer = self.say(request) or self._answer(request)
        writer.write(head_of(answer) + (b"" if request.method == "HEAD" else answer.body))
        await writer.drain()
        return True

    def _answer(self, request: Request) -> Answer:
        path = unquote(urlsplit(request.path).path)
        last = path.rpartition("/")[2]
        if path == "/v2/":
            return Answer()
        content = self.manifests.get(last) if "/manifests/" in path else self.blobs.get(last)
        if content is None:
            return Answer(404, {}, b'{"errors":[{"message":"SECRET"}]}')
        if request.range is None:
            return Answer(200, {}, content)
        start, end = request.range
        return Answer(
            206, {"Content-Range": f"bytes {start}-{end}/{len(content)}"}, content[start : end + 1]
        )


class Fault(NamedTuple):
    """What the proxy does to requests whose path contains `where`, `times` times (-1: always).

    `at` is the byte of the body where it happens. reset, close, stall: there; silence: before the head;
    status: `status` instead; html: a page with 200; whole: as if ranges were unknown; shifted: a wrong
    Content-Range; flipped: one wrong bit; loop: a redirect to itself.
    """

    kind: str
    where: str = "/blobs/"
    at: int = 0
    times: int = 1
    status: int = 500


class FaultProxy:
    """In front of a real registry. `served` counts how often each byte range of a blob went out in full."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.sent_bytes = 0
        self.host = ""
        self.blob = ""  # what faults of blobs hit; "" for any
        self.before_body: Callable[[Request], None] = lambda _: None
        self.reached = asyncio.Event()  # a stall or silence has begun

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["FaultProxy", None]:
        async with serving(self._handle) as self.host:
            yield self

    def _take_fault(self, request: Request) -> Fault | None:
        for index, fault in enumerate(self.faults):
            where = fault.where if fault.where != "/blobs/" else f"/blobs/{self.blob}"
            if where in request.path and fault.times:
                self.faults[index] = fault._replace(times=fault.times - 1)
                return fault
        return None

    async def _handle(self, request: Request, writer: Writer) -> bool:
        self.requests.append(request)
        fault = self._take_fault(request)
        if fault is not None and fault.kind == "silence":
            await self._stall()
        if fault is not None and (answer := _instead(fault, request)):
            writer.write(head_of(answer) + answer.body)
            await writer.drain()
            return True
        answer = await self._forward(
            request, drop_range=fault is not None and fault.kind == "whole"
        )
        return await self._send(request, _spoiled(answer, fault), fault, writer)

    async def _stall(self) -> None:
        self.reached.set()
        await asyncio.Event().wait()

    async def _send(
        self, request: Request, answer: Answer, fault: Fault | None, writer: Writer
    ) -> bool:
        writer.write(head_of(answer))
        if request.method == "HEAD":
            await writer.drain()
            return True
        self.before_body(request)
        breaks = fault is not None and fault.kind in ("reset", "close", "stall")
        body = answer.body[: fault.at] if fault is not None and breaks else answer.body
        writer.write(body)
        if "/blobs/" in request.path:
            self.sent_bytes += len(body)
        await writer.drain()
        if fault is not None and fault.kind == "stall":
            await self._stall()
        if fault is not None and fault.kind == "reset":
            writer.transport.abort()
        return not breaks

    async def _forward(self, request: Request, *, drop_range: bool) -> Answer:
        host, port = self._upstream.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            headers = {
                name: value for name, value in request.headers.items() if name != "connection"
            }
            if drop_range:
                headers.pop("range", None)
            lines = [
                f"{request.method} {request.path} HTTP/1.1",
                *(f"{k}: {v}" for k, v in headers.items()),
            ]
            writer.write(
                ("\r\n".join([*lines, "connection: close"]) + "\r\n\r\n").encode() + request.body
            )
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            pairs = [line.partition(": ") for line in head[1:] if line]
            kept = {k: v for k, _, v in pairs if k.lower() != "connection"}
            body = b"" if request.method == "HEAD" else await reader.read(-1)
            return Answer(int(head[0].split()[1]), kept, body)
        finally:
            writer.close()


def _instead(fault: Fault, request: Request) -> Answer | None:
    match fault.kind:
        case "status":
            return Answer(fault.status, {"Retry-After": "0"}, b"SECRET")
        case "html":
            return Answer(200, {"Content-Type": "text/html"}, b"<html>log in, please</html>")
        case "loop":
            return Answer(307, {"Location": request.path}, b"")
        case _:
            return None


def _spoiled(answer: Answer, fault: Fault | None) -> Answer:
    if fault is not None and fault.kind == "shifted":
        ranges = answer.headers.get("Content-Range", "bytes 0-0/1")
        start = int(ranges.split()[1].split("-")[0])
        wrong = ranges.replace(f"bytes {start}-", f"bytes {start + 1}-")
        return answer._replace(headers=answer.headers | {"Content-Range": wrong})
    if fault is not None and fault.kind == "flipped" and answer.body:
        body = bytearray(answer.body)
        body[fault.at % len(body)] ^= 1
        return answer._replace(body=bytes(body))
    return answer


@contextmanager
def no_proxies() -> Generator[None]:
    """Loopback is never reached by way of a proxy of the developer's."""
    with pytest.MonkeyPatch.context() as patch, suppress(KeyError):
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            patch.delenv(name, raising=False)
        yield
