"""HTTP as a client that trusts nobody: checked addresses, bounded bodies, no decompression, no blind redirect."""

import os
import ssl
import urllib.request
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

import certifi
import httpcore
from msgspec import Struct

from mlx_ollama import __version__
from mlx_ollama.errors import UpstreamError
from mlx_ollama.registry.addresses import CheckedNetwork

SILENCE_SECONDS = 30.0
MAX_REDIRECTS = 5
MAX_ERROR_BODY = 8 << 10
_REDIRECTS = (301, 302, 303, 307, 308)
USER_AGENT = (
    f"ollama/0.33.0 (arm64 darwin) mlx-ollama/{__version__}"  # registries look at the version
)
Content = bytes | Callable[[], AsyncIterator[bytes]]  # a body that can be sent again


class ConnectionFailed(UpstreamError):
    """No answer: refused, broken off, silent, or not understood. Trying again may help."""


class NotTls(ConnectionFailed):
    """The other side does not speak TLS."""


class Unreachable(ConnectionFailed):
    """Not even a connection."""


class Reply(Struct, frozen=True):
    """Names of `headers` are lower case. `url` is where the reply came from, after redirects."""

    status: int
    headers: dict[str, str]
    url: str
    stream: AsyncIterable[bytes]

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes; ConnectionFailed when it breaks off."""
        return _guarded(self.stream)

    async def read(self, limit: int) -> bytes:
        """The whole body; UpstreamError when it is longer than `limit`."""
        body = bytearray()
        async for chunk in self.chunks():
            body += chunk
            if len(body) > limit:
                raise UpstreamError(f"the registry's answer is longer than {limit} bytes")
        return bytes(body)


class Http:
    """Connections of one policy: `insecure` skips certificates and permits private addresses and plain HTTP."""

    def __init__(self, *, insecure: bool = False, allows_private: bool = False) -> None:
        self.insecure = insecure
        self._network = CheckedNetwork(allows_private=insecure or allows_private)
        self._pools: dict[str, httpcore.AsyncConnectionPool] = {}
        self._users = 0

    @asynccontextmanager
    async def in_use(self) -> AsyncGenerator[None, None]:
        """The last to leave closes the connections: a download may outlive the pull that began it."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                pools, self._pools = self._pools, {}
                for pool in pools.values():
                    await pool.aclose()

    @asynccontextmanager
    async def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        content: Content | None = None,
    ) -> AsyncGenerator[Reply, None]:
        """One request, no redirect followed. ConnectionFailed, AddressNotAllowed."""
        sent = [
            ("User-Agent", USER_AGENT),
            ("Accept-Encoding", "identity"),
            *(headers or {}).items(),
        ]
        wait = {"connect": SILENCE_SECONDS, "read": SILENCE_SECONDS, "write": SILENCE_SECONDS}
        pool = self._pool(check_url(url))
        try:
            async with pool.stream(
                method,
                url,
                headers=sent,
                content=content() if callable(content) else content,
                extensions={"timeout": wait},
            ) as response:
                named = {
                    key.decode("latin-1").lower(): value.decode("latin-1")
                    for key, value in response.headers
                }
                yield Reply(response.status, named, url, response.aiter_stream())
        except _BROKEN as error:
            raise _described(error) from error

    @asynccontextmanager
    async def follow(
        self, method: str, url: str, headers: Mapping[str, str] | None = None
    ) -> AsyncGenerator[Reply, None]:
        """As `send`, following redirects (S-61); what is secret stays with the first host."""
        sent = dict(headers or {})
        for _ in range(MAX_REDIRECTS + 1):
            async with self.send(method, url, sent) as reply:
                if reply.status not in _REDIRECTS or "location" not in reply.headers:
                    yield reply
                    return
                target = joined(url, reply.headers["location"])
            self._check_redirect(url, target)
            if origin(target) != origin(url):
                sent.pop("Authorization", None)
            url = target
        raise UpstreamError("too many redirects")

    def _check_redirect(self, source: str, target: str) -> None:
        before, after = urlsplit(source), check_url(target)
        is_downgrade = before.scheme == "https" and after.scheme != "https"
        is_plain_elsewhere = after.scheme != "https" and origin(source) != origin(target)
        if is_downgrade or (is_plain_elsewhere and not self.insecure):
            raise UpstreamError("redirect not allowed")

    def _pool(self, url: SplitResult) -> httpcore.AsyncConnectionPool:
        proxy = proxy_of(url)
        pool = self._pools.get(proxy)
        if pool is None:
            common: dict[str, Any] = {
                "ssl_context": _tls(self.insecure, _own_certificates()),
                "max_connections": 32,
                "http1": True,
            }
            if proxy:  # of the user's own choice, wherever it is
                pool = httpcore.AsyncHTTPProxy(proxy, **common)
            else:
                pool = httpcore.AsyncConnectionPool(network_backend=self._network, **common)
            self._pools[proxy] = pool
        return pool


_BROKEN = (
    httpcore.NetworkError,
    httpcore.TimeoutException,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    ssl.SSLError,
    OSError,
)


def check_url(url: str) -> SplitResult:
    """`url` in parts; UpstreamError unless it is http or https, to a host, and without a user."""
    try:
        parts = urlsplit(url)
        is_fine = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        is_fine = is_fine and url.isascii() and url.isprintable() and " " not in url
    except ValueError:
        raise UpstreamError("redirect not allowed") from None
    if not is_fine or parts.username is not None:
        raise UpstreamError("redirect not allowed")
    return parts


def joined(url: str, target: str) -> str:
    """Where a Location leads; UpstreamError when it is no address."""
    try:
        return urljoin(url, target)
    except ValueError:
        raise UpstreamError("redirect not allowed") from None


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port: what has to be the same for a secret to go along."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return "", "", 0  # no address at all, and so never that of a registry
    return parts.scheme, (parts.hostname or "").lower(), port


def proxy_of(url: SplitResult) -> str:
    """The proxy that the environment (or macOS) says for a URL, "" for none."""
    host = url.hostname or ""
    if urllib.request.proxy_bypass(f"{host}:{url.port}" if url.port else host):
        return ""
    proxy = urllib.request.getproxies().get(url.scheme, "")
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def _own_certificates() -> tuple[str, ...]:
    return tuple(os.environ.get(name, "") for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"))


@lru_cache(maxsize=4)
def _tls(insecure: bool, _own: tuple[str, ...]) -> ssl.SSLContext:
    """Reading all certificates takes 0.1 s, so a context is kept while the user's own stay the same."""
    context = ssl.create_default_context(cafile=certifi.where())
    context.set_default_verify_paths()  # SSL_CERT_FILE and SSL_CERT_DIR, and the system's own
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def _guarded(stream: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
    try:
        async for chunk in stream:
            yield chunk
    except _BROKEN as error:
        raise _described(error) from error


def _described(error: Exception) -> ConnectionFailed:
    """In the words of Go's client where clients know them."""
    text = str(error)
    if any(
        mark in text for mark in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST")
    ):
        return NotTls("http: server gave HTTP response to HTTPS client")
    if isinstance(error, httpcore.TimeoutException):
        return ConnectionFailed("timed out waiting for an answer")
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return ConnectionFailed("tls: failed to verify certificate")
    if isinstance(error, httpcore.ConnectError):
        is_unknown = "no such host" in text
        return Unreachable("no such host" if is_unknown else "connection refused")
    return ConnectionFailed("the connection broke off")
