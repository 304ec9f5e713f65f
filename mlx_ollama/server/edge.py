"""Before any body is read: who may ask (Origin, Host), and whether what they ask for exists.

Rules: contract 2.5, 2.7, 2.8. Litestar's own middleware does not refuse what comes from a foreign page.
"""

import ipaddress
import logging
import posixpath
import re
import socket
import time
from collections.abc import Iterable

from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from mlx_ollama import __version__
from mlx_ollama.server.replies import BARE_TEXT, Reply, text_reply

logger = logging.getLogger(__name__)

ALLOWED_METHODS = b"GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS"
ALLOWED_HEADERS = b",".join(
    [
        b"Authorization,Content-Type,User-Agent,Accept,X-Requested-With,Openai-Beta",
        *(
            b"X-Stainless-" + name
            for name in b"Arch Async Custom-Poll-Interval Helper-Method Lang Os Package-Version "
            b"Poll-Helper Retry-Count Runtime Runtime-Version Timeout".split()
        ),
    ]
)
LOCAL_HOSTS = ("localhost", "127.0.0.1", "0.0.0.0")  # noqa: S104 - compared, not bound
APP_ORIGINS = ("app://*", "file://*", "tauri://*", "vscode-webview://*", "vscode-file://*")
LOCAL_SUFFIXES = (".localhost", ".local", ".internal")
HTML = b"text/html; charset=utf-8"

Methods = dict[str, frozenset[str]]


class Edge:
    """ASGI middleware around the application. `paths` are Litestar's, with their methods."""

    def __init__(
        self, app: ASGIApp, paths: Methods, *, origins: Iterable[str], check_host: bool
    ) -> None:
        self._app = app
        self._routes = [(_path_pattern(path), methods) for path, methods in paths.items()]
        self._origins = _Origins(origins)
        self._check_host = check_host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = _Headers(scope)
        methods = self._methods(scope["path"])
        refusal = self._refusal(scope, headers, methods)
        added = [(b"server", b"mlx-ollama/" + __version__.encode())]
        if headers.origin and refusal is None:
            added += self._origins.headers(headers)
        answer = _Sent(send, added)
        try:
            await (refusal or self._app)(scope, receive, answer)
        finally:
            answer.log(scope)

    def _methods(self, path: str) -> frozenset[str]:
        return next(
            (methods for pattern, methods in self._routes if pattern.fullmatch(path)), frozenset()
        )

    def _refusal(
        self, scope: HTTPScope, headers: "_Headers", methods: frozenset[str]
    ) -> Reply | None:
        """What answers instead of the application; None when that may."""
        redirect = self._redirect(scope, methods)
        if redirect is not None:
            return redirect
        allow = [(b"allow", ", ".join(sorted(methods)).encode())] if methods else []
        is_options = scope["method"] == "OPTIONS"
        if headers.origin and not headers.is_same_origin():
            if not self._origins.allow(headers.origin):
                return Reply(status=403, headers=allow if is_options else [])
            if is_options:
                return Reply(status=204, headers=[*allow, *self._origins.preflight(headers)])
        if headers.is_foreign_page():
            return Reply(status=403)
        if self._check_host:
            accepted = _host_kind(headers.host)
            if not accepted:
                return Reply(status=403, headers=allow if is_options else [])
            if is_options and accepted == "name":
                return Reply(status=204, headers=allow)
        return _unrouted(scope, methods, allow)

    def _redirect(self, scope: HTTPScope, methods: frozenset[str]) -> Reply | None:
        """Where a path is another one written differently."""
        path = scope["path"]
        clean = _clean_path(path)
        if clean != path:
            return None if "%" in _raw_path(scope) else _moved(scope, clean, 307)
        other = path[:-1] if path.endswith("/") else path + "/"
        if methods or path == "/" or not self._methods(other):
            return None
        return _moved(scope, other, 301 if scope["method"] == "GET" else 307)


def _unrouted(
    scope: HTTPScope, methods: frozenset[str], allow: list[tuple[bytes, bytes]]
) -> Reply | None:
    if not methods:
        return text_reply("404 page not found", status=404, media=BARE_TEXT)
    if scope["method"] not in methods:
        return text_reply("405 method not allowed", status=405, media=BARE_TEXT, headers=allow)
    return None


class _Headers:
    """The few headers that decide who asks."""

    def __init__(self, scope: HTTPScope) -> None:
        found = {name: value.decode("latin-1") for name, value in scope["headers"]}
        origins = [value for name, value in scope["headers"] if name == b"origin"]
        self.host = found.get(b"host", "")
        self.origin = ", ".join(value.decode("latin-1") for value in origins)
        self._site = found.get(b"sec-fetch-site", "")
        self._mode = found.get(b"sec-fetch-mode", "")

    def is_same_origin(self) -> bool:
        return self.origin in (f"http://{self.host}", f"https://{self.host}")

    def is_foreign_page(self) -> bool:
        """A page of another site that sends without CORS, such as by a form or an image."""
        return not self.origin and self._site == "cross-site" and self._mode == "no-cors"


class _Origins:
    """Which pages may ask. A pattern may hold one `*`."""

    def __init__(self, configured: Iterable[str]) -> None:
        patterns = [pattern.lower() for pattern in configured]
        for host in LOCAL_HOSTS:
            for scheme in ("http", "https"):
                patterns += [f"{scheme}://{host}", f"{scheme}://{host}:*"]
        patterns += APP_ORIGINS
        self._any = "*" in patterns
        self._patterns = [_wildcard(pattern) for pattern in patterns]

    def allow(self, origin: str) -> bool:
        return self._any or any(pattern.fullmatch(origin) for pattern in self._patterns)

    def headers(self, headers: _Headers) -> list[tuple[bytes, bytes]]:
        """For an ordinary request."""
        if headers.is_same_origin():
            return []
        if self._any:
            return [(b"access-control-allow-origin", b"*")]
        return [
            (b"access-control-allow-origin", headers.origin.encode("latin-1")),
            (b"vary", b"Origin"),
        ]

    def preflight(self, headers: _Headers) -> list[tuple[bytes, bytes]]:
        varies = (b"Access-Control-Request-Method", b"Access-Control-Request-Headers")
        return [
            *self.headers(headers),
            *((b"vary", name) for name in varies if not self._any),
            (b"access-control-allow-methods", ALLOWED_METHODS),
            (b"access-control-allow-headers", ALLOWED_HEADERS),
            (b"access-control-max-age", b"43200"),
        ]


def _wildcard(pattern: str) -> re.Pattern[str]:
    before, star, after = pattern.partition("*")
    return re.compile(re.escape(before) + (".*" if star else "") + re.escape(after), re.DOTALL)


def _host_kind(host: str) -> str:
    """ "address" or "name" for a Host that means this machine or its network; empty otherwise."""
    name = _without_port(host)
    try:
        address = ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return "name" if _is_local_name(name.lower()) else ""
    is_near = address.is_loopback or address.is_private or address.is_unspecified
    is_near = is_near and not address.is_link_local
    return "address" if is_near else ""


def _without_port(host: str) -> str:
    name, separator, port = host.rpartition(":")
    return (
        name if separator and port.isdigit() and (":" not in name or name.endswith("]")) else host
    )


def _is_local_name(name: str) -> bool:
    if name in ("", "localhost", socket.gethostname().lower()):
        return True
    return name.endswith(LOCAL_SUFFIXES) and re.fullmatch(r"[a-z0-9.-]+", name) is not None


def _path_pattern(path: str) -> re.Pattern[str]:
    """A Litestar path as a pattern; a parameter is one segment that is not empty."""
    parts = ("[^/]+" if part.startswith("{") else re.escape(part) for part in path.split("/"))
    return re.compile("/".join(parts))


def _clean_path(path: str) -> str:
    """Without doubled slashes and dots; a slash at the end stays."""
    clean = "/" + posixpath.normpath(path).lstrip("/")
    return clean + "/" if path.endswith("/") and clean != "/" else clean


def _raw_path(scope: HTTPScope) -> str:
    return scope["raw_path"].decode("ascii", "replace")


def _moved(scope: HTTPScope, path: str, status: int) -> Reply:
    query = scope["query_string"].decode("latin-1")
    location = f"{path}?{query}" if query else path
    if not location.isascii() or not location.isprintable():
        return text_reply("404 page not found", status=404, media=BARE_TEXT)
    words = "Moved Permanently" if status == 301 else "Temporary Redirect"
    headers = [(b"location", location.encode())]
    if scope["method"] not in ("GET", "HEAD"):
        return Reply(status=status, headers=headers)
    body = f'<a href="{location.replace("&", "&amp;")}">{words}</a>.\n\n'
    return Reply(body.encode(), status=status, media=HTML, headers=headers)


class _Sent:
    """Passes an answer on with more headers, and remembers what there is to log of it."""

    def __init__(self, send: Send, added: list[tuple[bytes, bytes]]) -> None:
        self._send = send
        self._added = added
        self._started = time.monotonic()
        self._status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            message["headers"] = [*message["headers"], *self._added]
        await self._send(message)

    def log(self, scope: HTTPScope) -> None:
        """One line; 499 where the client left before an answer."""
        milliseconds = 1000 * (time.monotonic() - self._started)
        status = self._status or 499
        logger.info("%s %s %d in %.1f ms", scope["method"], scope["path"], status, milliseconds)
