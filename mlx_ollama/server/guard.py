"""What uvicorn does not limit: the size, the number and the slowness of headers, and clients that never read.

A subclass of its protocol; the pinned version's `parser`, `headers`, `cycle` and `transport` are relied upon.
"""

import asyncio
import logging
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

logger = logging.getLogger(__name__)

MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 128
MAX_URL_BYTES = 8 * 1024
HEAD_SECONDS = 10.0
BODY_IDLE_SECONDS = 30.0
UNREAD_SECONDS = 60.0  # a client that leaves its answer unread for so long is cut off

_REASONS = {400: "Bad Request", 408: "Request Timeout", 431: "Request Header Fields Too Large"}


class GuardedProtocol(HttpToolsProtocol):
    """Invariants: while a head or a body is awaited, `_timer` runs, and `_unread` while the client's buffers are
    full; a refused connection handles nothing more."""

    _in_head = True
    _head_bytes = 0
    _idle_bytes = 0  # received since the last byte of a body: trailers and extensions of chunks
    _is_refused = False
    _timer: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._arm(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._stop_unread()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        self._stop_unread()
        self._unread = self.loop.call_later(UNREAD_SECONDS, self._cut_off)
        super().pause_writing()

    def resume_writing(self) -> None:
        self._stop_unread()
        super().resume_writing()

    def _stop_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _cut_off(self) -> None:
        logger.info("client too slow: its answer was left unread for %g s", UNREAD_SECONDS)
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes == len(data):
                self._arm(HEAD_SECONDS)
            if self._head_bytes > MAX_HEAD_BYTES and b"\r\n\r\n" not in data[: MAX_HEAD_BYTES + 4]:
                self._refuse(431)
                return
        self._idle_bytes += len(data)
        super().data_received(data)
        if not self._in_head and self._idle_bytes > MAX_HEAD_BYTES and not self._is_refused:
            self._refuse(431)

    def on_headers_complete(self) -> None:
        self._in_head, self._head_bytes, self._idle_bytes = False, 0, 0
        self._arm(BODY_IDLE_SECONDS)
        status = self._fault()
        if status:
            self._refuse(status)
        else:
            super().on_headers_complete()

    def _fault(self) -> int:
        """The status that refuses this head; 0 for a good one."""
        assert self.parser is not None
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (hosts == 0 and self.parser.get_http_version() != "1.0"):
            return 400
        if len(self.headers) > MAX_HEADERS or len(self.url) > MAX_URL_BYTES:
            return 431
        is_absolute = not self.url.startswith((b"/", b"*"))
        return 400 if is_absolute else 0

    def on_body(self, body: bytes) -> None:
        if not self._is_refused:
            self._arm(BODY_IDLE_SECONDS)
            self._idle_bytes = 0
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._disarm()
        self._in_head = True
        if not self._is_refused:
            super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """Never reached: `ws="none"`."""

    def _unsupported_upgrade_warning(self) -> None:
        """An upgrade is answered like any request; no line in the log for it."""

    def send_400_response(self, msg: str) -> None:
        self._refuse(400)

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._timer = self.loop.call_later(seconds, self._is_late)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _is_late(self) -> None:
        """A reader that holds the request back on purpose (back-pressure) does not make the client late."""
        if self.flow.read_paused and not self._in_head:
            self._arm(BODY_IDLE_SECONDS)
        else:
            self._refuse(408)

    def _refuse(self, status: int) -> None:
        """Answer unless an answer is under way, and close."""
        self._disarm()
        self._is_refused = True
        cycle: Any = self.cycle
        is_free = cycle is None or cycle.response_complete or not cycle.response_started
        if not self.transport.is_closing() and is_free:
            self._drop(cycle)
            body = b'{"error":"%s"}' % _REASONS[status].lower().encode()
            head = (
                f"HTTP/1.1 {status} {_REASONS[status]}\r\ncontent-type: application/json\r\n"
                f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
        self.transport.close()

    def _drop(self, cycle: Any) -> None:
        """Whoever still waits for the rest of the request learns that its client has gone."""
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
