"""POST /api/chat (contract 9)."""

from litestar import post
from litestar.types import ASGIApp

from mlx_ollama.api.ollama import ChatRequest
from mlx_ollama.inference.chat import chat, join
from mlx_ollama.inference.replies import stands_alone
from mlx_ollama.server.bodies import Call, read
from mlx_ollama.server.services import services_of
from mlx_ollama.server.streaming import Answer


@post("/api/chat")
async def chat_reply(request: Call) -> ASGIApp:
    asked = await read(request, ChatRequest)
    return Answer(
        chat(services_of(request).models, asked),
        stream=asked.stream is not False,
        whole=join,
        stands_alone=stands_alone,
    )


HANDLERS = [chat_reply]
