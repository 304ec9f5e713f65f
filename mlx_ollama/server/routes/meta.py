"""The root, the version, and what only Ollama's own cloud could answer (contract 7, 21)."""

from litestar import delete, get, post, route
from litestar.types import ASGIApp

from mlx_ollama.errors import InvalidRequest
from mlx_ollama.server.bodies import Call
from mlx_ollama.server.replies import json_reply, text_reply

OLLAMA_VERSION = "0.33.0"  # clients gate features on it; our own is in the Server header


@route("/", http_method=["GET", "HEAD"])
async def root() -> ASGIApp:
    return text_reply("Ollama is running")


@route("/api/version", http_method=["GET", "HEAD"])
async def version() -> ASGIApp:
    return json_reply({"version": OLLAMA_VERSION})


@get("/api/status")
async def status() -> ASGIApp:
    """There is no cloud behind this server; "env" is what Ollama says when it was turned off outside."""
    return json_reply({"cloud": {"disabled": True, "source": "env"}})


@post("/api/me")
async def me() -> ASGIApp:
    return json_reply({"error": "account unavailable"}, status=503)


@post("/api/signout")
async def signout() -> ASGIApp:
    return json_reply({"error": "there was an error signing out"}, status=500)


@delete("/api/user/keys/{key:str}", status_code=200)
async def user_key() -> ASGIApp:
    return json_reply({"error": "there was an error signing out"}, status=500)


@post("/api/experimental/web_search")
async def web_search(request: Call) -> ASGIApp:
    return await _cloud_only(request, "web search")


@post("/api/experimental/web_fetch")
async def web_fetch(request: Call) -> ASGIApp:
    return await _cloud_only(request, "web fetch")


async def _cloud_only(request: Call, what: str) -> ASGIApp:
    if not (await request.body()).strip():
        raise InvalidRequest("missing request body")
    return json_reply({"error": f"ollama cloud is disabled: {what} is unavailable"}, status=403)


@get("/api/experimental/model-recommendations")
async def recommendations() -> ASGIApp:
    return json_reply({"recommendations": []})


HANDLERS = [
    root,
    version,
    status,
    me,
    signout,
    user_key,
    web_search,
    web_fetch,
    recommendations,
]
