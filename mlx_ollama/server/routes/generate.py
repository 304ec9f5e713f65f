"""POST /api/generate (contract 8)."""

from litestar import post
from litestar.types import ASGIApp

from mlx_ollama.api.ollama import GenerateRequest
from mlx_ollama.inference.generate import generate, join
from mlx_ollama.inference.replies import stands_alone
from mlx_ollama.server.bodies import Call, read
from mlx_ollama.server.services import services_of
from mlx_ollama.server.streaming import Answer


@post("/api/generate")
async def generate_reply(request: Call) -> ASGIApp:
    asked = await read(request, GenerateRequest)
    return Answer(
        generate(services_of(request).models, asked),
        stream=asked.stream is not False,
        whole=join,
        stands_alone=stands_alone,
    )


HANDLERS = [generate_reply]
