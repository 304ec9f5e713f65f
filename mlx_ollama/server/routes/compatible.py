"""The OpenAI and Anthropic addresses, which this version does not serve yet."""

from litestar import get, post
from litestar.types import ASGIApp

from mlx_ollama.server.replies import BARE_JSON, json_reply

_TEXT = "the OpenAI and Anthropic interfaces are not supported yet"


def _unsupported() -> ASGIApp:
    error = {"message": _TEXT, "type": "invalid_request_error", "param": None, "code": None}
    return json_reply({"error": error}, status=400, media=BARE_JSON)


@get(["/v1/models", "/v1/models/{model:str}"])
async def list_models() -> ASGIApp:
    return _unsupported()


@post(
    [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/responses",
        "/v1/messages",
        "/v1/audio/transcriptions",
    ]
)
async def answer() -> ASGIApp:
    return _unsupported()


HANDLERS = [list_models, answer]
