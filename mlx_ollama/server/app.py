"""create_app(): the routes, what they work with, and the edge around them."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from litestar import Litestar, Router
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.plugins import PluginProtocol
from litestar.plugins.core import MsgspecDIPlugin
from litestar.response import Response
from litestar.types import ASGIApp

from mlx_ollama.api.ollama import ErrorResponse
from mlx_ollama.config import MEBIBYTE
from mlx_ollama.errors import Canceled, TooLarge
from mlx_ollama.server.bodies import Call
from mlx_ollama.server.edge import Edge, Methods
from mlx_ollama.server.failures import status_of, text_of
from mlx_ollama.server.replies import JSON, encode
from mlx_ollama.server.routes import (
    chat,
    compatible,
    create,
    embed,
    generate,
    meta,
    models,
    transfer,
)
from mlx_ollama.server.services import Services

INFERENCE = (chat, generate, embed)
MANAGEMENT = (create, models, transfer, meta, compatible)
DISCONNECTED = "client disconnected prematurely"  # Litestar's words while it streams a body

Lifespan = Callable[[Litestar], AbstractAsyncContextManager[None]]


class _MsgspecOnly(Litestar):
    """Without the plugins for pydantic and attrs, which cost 13 MB wherever those happen to be installed."""

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return [*plugins, MsgspecDIPlugin()]


def create_app(services: Services, lifespan: Lifespan | None = None) -> ASGIApp:
    """The whole HTTP side. `lifespan` starts and ends what the services need."""
    settings = services.settings
    app = _MsgspecOnly(
        [
            _router(INFERENCE, settings.max_body),
            _router(MANAGEMENT, settings.max_management_body),
        ],
        state=State({"services": services}),
        lifespan=[lifespan] if lifespan else [],
        exception_handlers={HTTPException: _http_error, Exception: _error},
        openapi_config=None,
        logging_config=None,
    )
    return Edge(app, _paths(app), origins=settings.origins, check_host=settings.is_loopback)


def _router(modules: tuple[Any, ...], max_body: int) -> Router:
    handlers = [handler for module in modules for handler in module.HANDLERS]
    return Router("/", route_handlers=handlers, request_max_body_size=max_body)


def _paths(app: Litestar) -> Methods:
    """Every path with the methods that were written for it; Litestar adds OPTIONS by itself."""
    return {
        route.path_format: frozenset(route.methods) - {"OPTIONS"}
        for route in app.routes
        if hasattr(route, "methods")
    }


def _error(_request: Call, error: Exception) -> Response[bytes]:
    return _response(status_of(error), text_of(error))


def _http_error(request: Call, error: HTTPException) -> Response[bytes]:
    """Litestar's own complaints in our shape."""
    if error.status_code == 413:
        limit = f"{_limit(request) // MEBIBYTE} MiB"
        return _error(request, TooLarge(f"request body too large (limit {limit})"))
    if DISCONNECTED in error.detail:
        return _error(request, Canceled("request canceled"))
    if error.status_code >= 500:
        return _error(request, error)
    return _response(error.status_code, error.detail.lower())


def _limit(request: Call) -> int:
    limit = request.route_handler.resolve_request_max_body_size()
    return limit or 0


def _response(status: int, text: str) -> Response[bytes]:
    body = encode(ErrorResponse(error=text))
    return Response(body, status_code=status, media_type=JSON.decode())
