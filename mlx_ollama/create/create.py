"""A create request to layers and a manifest."""

from collections.abc import AsyncIterator, Callable

from mlx_ollama.api.models import CreateRequest, Progress
from mlx_ollama.conversion import Conversions
from mlx_ollama.store.names import ModelName
from mlx_ollama.store.store import Store

# How an absent base is fetched: the registry's pull, as progress lines; None while there is no registry client.
Pull = Callable[[ModelName], AsyncIterator[Progress]]


def check(request: CreateRequest) -> ModelName:
    """What is answered as a plain error before any stream (contract 18.2); the target's name."""
    raise NotImplementedError


def create(
    request: CreateRequest,
    store: Store,
    conversions: Conversions | None = None,
    pull: Pull | None = None,
) -> AsyncIterator[Progress]:
    """Progress lines in Ollama's order and words; the last is `success` (contract 18).

    An async generator: an error raised before the first line keeps its own status, a later one is the last
    line of a 200 (with `stream: false` it keeps its status). Heavy work runs in threads. When the reader goes
    away (the generator is closed) nothing half-made stays behind.
    """
    raise NotImplementedError
