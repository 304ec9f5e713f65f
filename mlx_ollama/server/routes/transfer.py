"""Pull and push (contract 19, 20)."""

from litestar import post
from litestar.types import ASGIApp

from mlx_ollama.api.models import PullRequest, PushRequest
from mlx_ollama.errors import InvalidName, InvalidRequest
from mlx_ollama.server.bodies import Call, read
from mlx_ollama.server.replies import BARE_JSON
from mlx_ollama.server.services import services_of
from mlx_ollama.server.streaming import Answer, last
from mlx_ollama.store.names import ModelName
from mlx_ollama.store.reference import parse_reference


@post("/api/pull")
async def pull(request: Call) -> ASGIApp:
    asked = await read(request, PullRequest)
    if not asked.target.strip():
        raise InvalidName
    name = ModelName.parse(parse_reference(asked.target).pulled_as)
    lines = services_of(request).transfers.pull(
        name, insecure=asked.insecure, user=(asked.username, asked.password)
    )
    return Answer(lines, stream=asked.stream, whole=last, media=BARE_JSON)


@post("/api/push")
async def push(request: Call) -> ASGIApp:
    asked = await read(request, PushRequest)
    if not asked.target:
        raise InvalidRequest("model is required")
    lines = services_of(request).transfers.push(
        asked.target, insecure=asked.insecure, user=(asked.username, asked.password)
    )
    return Answer(lines, stream=asked.stream, whole=last, media=BARE_JSON)


HANDLERS = [pull, push]
