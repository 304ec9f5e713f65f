"""Whole answers as ASGI applications; JSON escaped and labelled as Ollama's."""

from collections.abc import Sequence
from typing import Any

import msgspec
from litestar.types import Receive, Scope, Send

from mlx_ollama.api import go_json

JSON = b"application/json; charset=utf-8"
BARE_JSON = b"application/json"  # of stream errors and of results of create, pull and push
TEXT = b"text/plain; charset=utf-8"
BARE_TEXT = b"text/plain"

Headers = Sequence[tuple[bytes, bytes]]
_encoder = msgspec.json.Encoder()


def encode(value: Any) -> bytes:
    """A struct as JSON text."""
    return go_json.escape_html(_encoder.encode(value))


class Reply:
    """One answer, whole: an ASGI application that a route handler returns."""

    def __init__(
        self, body: bytes = b"", *, status: int = 200, media: bytes = b"", headers: Headers = ()
    ) -> None:
        self.status = status
        self._body = body
        self._headers = [*headers, (b"content-length", b"%d" % len(body))]
        if media:
            self._headers.append((b"content-type", media))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": self._headers})
        await send({"type": "http.response.body", "body": self._body, "more_body": False})


def json_reply(
    value: Any, *, status: int = 200, media: bytes = JSON, headers: Headers = ()
) -> Reply:
    """A struct or plain value as the answer."""
    return Reply(encode(value), status=status, media=media, headers=headers)


def text_reply(
    text: str, *, status: int = 200, media: bytes = TEXT, headers: Headers = ()
) -> Reply:
    return Reply(text.encode(), status=status, media=media, headers=headers)
