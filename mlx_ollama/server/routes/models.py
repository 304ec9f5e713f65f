"""Which models are here, what they are, and their names (contract 12 to 16)."""

import asyncio
import contextlib
import sys

from litestar import delete, get, post, route
from litestar.types import ASGIApp

from mlx_ollama.api.models import (
    CopyRequest,
    DeleteRequest,
    Details,
    RunningModel,
    RunningResponse,
    ShowRequest,
)
from mlx_ollama.errors import CorruptData, NotFound
from mlx_ollama.server.bodies import Call, read
from mlx_ollama.server.replies import Reply, json_reply
from mlx_ollama.server.services import Services, services_of
from mlx_ollama.store import describe
from mlx_ollama.store.reference import parse_reference
from mlx_ollama.supervisor.spec import LoadedModel

HAS_ACCELERATOR = sys.platform == "darwin"  # whose memory is the processor's too


@route("/api/tags", http_method=["GET", "HEAD"])
async def tags(request: Call) -> ASGIApp:
    return json_reply(await asyncio.to_thread(describe.tags, services_of(request).store))


@post("/api/show")
async def show(request: Call) -> ASGIApp:
    asked, store = await read(request, ShowRequest), services_of(request).store
    if asked.target and parse_reference(asked.target).source == "cloud":
        text = "ollama cloud is disabled: remote model details are unavailable"
        return json_reply({"error": text}, status=403)
    agent = request.headers.get("user-agent", "")
    return json_reply(await asyncio.to_thread(describe.show, store, asked, user_agent=agent))


@post("/api/copy")
async def copy(request: Call) -> ASGIApp:
    asked = await read(request, CopyRequest)
    await asyncio.to_thread(services_of(request).store.copy, asked.source, asked.destination)
    return Reply()


@delete("/api/delete", status_code=200)
async def delete_model(request: Call) -> ASGIApp:
    asked = await read(request, DeleteRequest)
    await asyncio.to_thread(services_of(request).store.delete, asked.target)
    return Reply()


@get("/api/ps")
async def running(request: Call) -> ASGIApp:
    """A name that was deleted or replaced while its model runs is still told."""
    services = services_of(request)
    loaded = services.supervisor.loaded()
    models = await asyncio.to_thread(lambda: [_running(services, model) for model in loaded])
    return json_reply(RunningResponse(models=models))


def _running(services: Services, loaded: LoadedModel) -> RunningModel:
    digest, details = loaded.digest, Details()
    with contextlib.suppress(NotFound, CorruptData):
        model = services.store.resolve(loaded.name)
        digest, details = model.digest, describe.details(model)
    details.parent_model = ""
    return RunningModel(
        name=loaded.name,
        model=loaded.name,
        size=loaded.size,
        digest=digest,
        details=details,
        expires_at=loaded.expires_at,
        size_vram=loaded.size if HAS_ACCELERATOR else 0,
        context_length=loaded.context_length,
    )


HANDLERS = [tags, show, copy, delete_model, running]
