"""Pull and push (contract 19, 20)."""

from litestar import post
from litestar.types import ASGIApp

from mlx_ollama.api.models import PullRequest, PushRequest
from mlx_ollama.errors import InvalidRequest
from mlx_ollama.server.bodies import Call, read
from mlx_ollama.store.names import ModelName


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
    raise InvalidRequest("pushing models is not supported yet")


HANDLERS = [pull, push]
