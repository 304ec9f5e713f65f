"""Which addresses may be connected to. The address that was checked is the one that is used.

A name can resolve to a public address when it is looked at and to a private one when it is used, and a registry
can redirect anywhere: so the check sits where the connection is made (S-60).
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from typing import Any, cast

import httpcore

from mlx_ollama.errors import UpstreamError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
CONNECT_SECONDS = 10.0


class AddressNotAllowed(UpstreamError):
    """An address that no registry may have, or only one that is trusted."""

    def __init__(self) -> None:
        super().__init__("registry address not allowed")


def check(text: str, *, allows_private: bool) -> Address:
    """The address of `text`. Link-local, multicast and unspecified are nobody's; private and loopback ones are
    for `allows_private` only."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address.sixtofour or address
    is_nobodys = address.is_link_local or address.is_multicast or address.is_unspecified
    if is_nobodys or not (allows_private or address.is_global):
        raise AddressNotAllowed
    return address


class CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Resolves, checks every answer, and connects to one that was checked."""

    def __init__(self, *, allows_private: bool) -> None:
        self._allows_private = allows_private
        self._network = cast(httpcore.AsyncNetworkBackend, httpcore.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface's
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        problem: httpcore.ConnectError | httpcore.ConnectTimeout | None = None
        for address in await self._resolve(host, port):
            try:
                return await self._network.connect_tcp(
                    address, port, min(timeout or CONNECT_SECONDS, CONNECT_SECONDS), local_address
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                problem = error
        raise problem or httpcore.ConnectError("no such host")

    async def _resolve(self, host: str, port: int) -> list[str]:
        try:
            answers = await asyncio.get_running_loop().getaddrinfo(
                host, port, type=socket.SOCK_STREAM
            )
        except (socket.gaierror, UnicodeError) as error:
            raise httpcore.ConnectError("no such host") from error
        found = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
        for address in found:
            check(address, allows_private=self._allows_private)
        return found

    async def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        raise AddressNotAllowed

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
