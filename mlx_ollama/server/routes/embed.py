"""POST /api/embed and the older /api/embeddings (contract 10, 11)."""

from litestar import post
from litestar.types import ASGIApp

from mlx_ollama.api.ollama import EmbeddingRequest, EmbedRequest
from mlx_ollama.inference.embed import embed, embedding
from mlx_ollama.server.bodies import Call, read
from mlx_ollama.server.services import services_of
from mlx_ollama.server.streaming import Once


@post("/api/embed")
async def embed_reply(request: Call) -> ASGIApp:
    return Once(embed(services_of(request).models, await read(request, EmbedRequest)))


@post("/api/embeddings")
async def embedding_reply(request: Call) -> ASGIApp:
    return Once(embedding(services_of(request).models, await read(request, EmbeddingRequest)))


HANDLERS = [embed_reply, embedding_reply]
