"""Structs as NDJSON, and clients that leave.

The status goes out with the first struct, so an error before it has its real status; an error after it is the
last line. Whoever leaves cancels the work, streamed or not.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from litestar.types import Receive, Scope, Send

from mlx_ollama.api.models import Progress
from mlx_ollama.api.ollama import ErrorResponse
from mlx_ollama.errors import Canceled
from mlx_ollama.server.failures import failure, text_of
from mlx_ollama.server.replies import JSON, encode, json_reply

Chunk = TypeVar("Chunk")
SPACE_SECONDS = 0.06
NDJSON = b"application/x-ndjson"


class Answer:
    """An ASGI application that sends what a generator of structs yields.

    `whole` makes one struct of them where the client wants no stream. `stands_alone` tells a chunk that is the
    whole answer, stream or not (a model was loaded). `media` is the type of whole answers.
    """

    def __init__(
        self,
        chunks: AsyncIterator[Any],
        *,
        stream: bool,
        whole: Callable[[list[Any]], Any],
        stands_alone: Callable[[Any], bool] = lambda _: False,
        media: bytes = JSON,
    ) -> None:
        self._chunks = chunks
        self._stream = stream
        self._whole = whole
        self._stands_alone = stands_alone
        self._media = media

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await while_connected(receive, self._answer(scope, receive, send))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with _closing(self._chunks) as chunks:
            try:
                first = await anext(chunks)
                if not self._stream:
                    rest = [chunk async for chunk in chunks]
                    reply = json_reply(self._whole([first, *rest]), media=self._media)
                elif self._stands_alone(first):
                    reply = json_reply(first, media=JSON)
                else:
                    reply = _Lines(first, chunks)
            except Exception as error:  # noqa: BLE001 - every error has an answer
                reply = failure(error, media=self._media)
            await reply(scope, receive, send)


class Once:
    """An ASGI application that sends one struct, as soon as it is there."""

    def __init__(self, work: Coroutine[Any, Any, Any]) -> None:
        self._work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await while_connected(receive, self._answer(scope, receive, send))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            reply = json_reply(await self._work)
        except Exception as error:  # noqa: BLE001 - every error has an answer
            reply = failure(error)
        await reply(scope, receive, send)


class _Lines:
    """The rest of a stream whose first chunk is known."""

    def __init__(self, first: Any, rest: AsyncIterator[Any]) -> None:
        self._first = first
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", NDJSON)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._line(send, self._first)
        try:
            async for chunk in self._rest:
                await self._line(send, chunk)
        except Exception as error:  # noqa: BLE001 - the status is out: the error is the last line
            await self._line(send, ErrorResponse(error=text_of(error)))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _line(self, send: Send, chunk: Any) -> None:
        body = encode(chunk) + b"\n"
        await send({"type": "http.response.body", "body": body, "more_body": True})


async def while_connected(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Run `work` and cancel it as soon as the client has gone. The body must have been read."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
    finally:
        gone.cancel()
        task.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@asynccontextmanager
async def _closing(chunks: AsyncIterator[Chunk]) -> AsyncGenerator[AsyncIterator[Chunk], None]:
    """A generator is ended at once, whatever happens, and not when it is collected."""
    try:
        yield chunks
    finally:
        close = getattr(chunks, "aclose", None)
        if close is not None:
            await close()


async def spaced(lines: AsyncIterator[Progress]) -> AsyncGenerator[Progress, None]:
    """Progress without the lines that come too soon after another of the same step; the last of a step stays."""
    step: tuple[str, str] = ("", "")
    told, held = 0.0, None
    async with _closing(lines):
        async for line in lines:
            now = time.monotonic()
            is_same = (line.status, line.digest) == step
            if is_same and now - told < SPACE_SECONDS:
                held = line
                continue
            if held is not None and not is_same:
                yield held
            step, told, held = (line.status, line.digest), now, None
            yield line
    if held is not None:
        yield held


def last(chunks: list[Chunk]) -> Chunk:
    """The last progress line, which is all that create, pull and push answer without a stream."""
    if not chunks:
        raise Canceled("request canceled")
    return chunks[-1]
