"""Trying again, with growing pauses, what may succeed later."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from msgspec import Struct

from mlx_ollama.errors import UpstreamError
from mlx_ollama.registry.http import ConnectionFailed, NotTls, Unreachable

_log = logging.getLogger(__name__)
Result = TypeVar("Result")
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_MEANINGS = {
    400: "bad request",
    404: "not found",
    412: "the model needs a newer version",
    429: "too many requests",
    500: "internal error of the registry",
    502: "bad gateway",
    503: "the registry is busy",
}


class RegistryError(UpstreamError):
    """The registry answered with an error. Its body is not repeated: it may be anybody's (S-60)."""

    def __init__(self, status: int, retry_after: float = 0.0) -> None:
        super().__init__(f"{status}: {_MEANINGS.get(status, 'the registry refused')}")
        self.status, self.retry_after = status, retry_after


def may_pass(error: UpstreamError) -> bool:
    """Whether the same request may well succeed a little later."""
    if isinstance(error, RegistryError):
        return error.status in _PASSING
    return isinstance(error, ConnectionFailed) and not isinstance(error, NotTls)


class Patience(Struct, frozen=True):
    """So many tries, and the pause before the second; each further one is twice as long."""

    tries: int = 6
    first_pause_seconds: float = 1.0

    async def pause(self, failures: int, error: UpstreamError) -> None:
        """Before the next try; UpstreamError when there were enough."""
        if failures >= self.tries:
            raise UpstreamError(f"max retries exceeded: {error}") from error
        _log.info("registry: %s, trying again", error)
        seconds = self.first_pause_seconds * 2 ** (failures - 1) * random.uniform(0.5, 1.0)  # noqa: S311
        asked = error.retry_after if isinstance(error, RegistryError) else 0.0
        await asyncio.sleep(max(seconds, asked))

    async def insist(self, action: Callable[[], Awaitable[Result]]) -> Result:
        """The result of a request without a large body. A registry that cannot be reached at all is not
        waited for."""
        failures = 0
        while True:
            try:
                return await action()
            except UpstreamError as error:
                if not may_pass(error) or isinstance(error, Unreachable):
                    raise
                failures += 1
                await self.pause(failures, error)
