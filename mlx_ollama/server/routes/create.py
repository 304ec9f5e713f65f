"""Uploads and the models made of them (contract 17, 18)."""

import asyncio

from litestar import post, route
from litestar.types import ASGIApp

from mlx_ollama.api.models import CreateRequest
from mlx_ollama.create.create import check, create
from mlx_ollama.errors import NotFound
from mlx_ollama.server.bodies import Call, read
from mlx_ollama.server.replies import BARE_JSON, Reply
from mlx_ollama.server.services import services_of
from mlx_ollama.server.streaming import Answer, last, spaced


@route("/api/blobs/{digest:str}", http_method=["HEAD"])
async def blob_exists(request: Call) -> ASGIApp:
    digest = request.path_params["digest"]
    if not await asyncio.to_thread(services_of(request).store.blobs.has_address, digest):
        raise NotFound(f'blob "{digest}" not found')
    return Reply()


@post("/api/blobs/{digest:str}", request_max_body_size=None)
async def upload_blob(request: Call) -> ASGIApp:
    """What is here already is answered without reading the body."""
    digest = request.path_params["digest"]
    length = request.headers.get("content-length")
    is_new = await services_of(request).store.blobs.receive(
        digest, request.stream(), int(length) if length else None
    )
    return Reply(status=201 if is_new else 200)


@post("/api/create")
async def create_model(request: Call) -> ASGIApp:
    asked = await read(request, CreateRequest)
    check(asked)
    services = services_of(request)
    lines = create(asked, services.store, services.conversions, services.transfers.pull)
    return Answer(spaced(lines), stream=asked.stream, whole=last, media=BARE_JSON)


HANDLERS = [blob_exists, upload_blob, create_model]
