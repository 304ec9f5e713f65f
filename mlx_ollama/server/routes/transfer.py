"""Pull and push (contract 19, 20)."""

import asyncio
from collections.abc import AsyncGenerator

from litestar import post
from litestar.types import ASGIApp

from mlx_ollama.api.models import Progress, PullRequest, PushRequest
from mlx_ollama.errors import InvalidName, InvalidRequest, NotFound
from mlx_ollama.server.bodies import Call, read
from mlx_ollama.server.replies import BARE_JSON
from mlx_ollama.server.services import services_of
from mlx_ollama.server.streaming import Answer, last
from mlx_ollama.store.names import ModelName, split_name
from mlx_ollama.store.store import Store


@post("/api/pull")
async def pull(request: Call) -> ASGIApp:
    asked = await read(request, PullRequest)
    ModelName.parse(asked.target)
    raise InvalidRequest("pulling models is not supported yet")


@post("/api/push")
async def push(request: Call) -> ASGIApp:
    asked = await read(request, PushRequest)
    if not asked.target:
        raise InvalidRequest("model is required")
    lines = _pushed(services_of(request).store, asked.target)
    return Answer(lines, stream=asked.stream, whole=last, media=BARE_JSON)


async def _pushed(store: Store, target: str) -> AsyncGenerator[Progress, None]:
    yield Progress(status="retrieving manifest")
    try:
        await asyncio.to_thread(store.resolve, target)
    except (InvalidName, NotFound) as error:
        yield Progress(status="couldn't retrieve manifest")
        raise _absent(target) from error
    raise InvalidRequest("pushing models is not supported yet")


def _absent(target: str) -> NotFound:
    parts = split_name(target).completed()
    full = f"{parts.host}/{parts.namespace}/{parts.model}:{parts.tag}"
    return NotFound(
        f"model '{target}' not found" if parts.is_valid() else f"unqualified name: {full}"
    )


HANDLERS = [pull, push]
