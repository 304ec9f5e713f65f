"""Texts to vectors (contract 10, 11)."""

import struct
import time
from array import array
from typing import Any

from mlx_ollama.api.ollama import (
    EmbeddingRequest,
    EmbeddingResponse,
    EmbedRequest,
    EmbedResponse,
)
from mlx_ollama.api.options import Options
from mlx_ollama.errors import InvalidRequest, MlxOllamaError, NotFound
from mlx_ollama.inference.models import Models
from mlx_ollama.ipc.messages import Embed, Vectors
from mlx_ollama.supervisor.lease import Lease

MAX_INPUTS = 2048


async def embed(models: Models, request: EmbedRequest) -> EmbedResponse:
    """A vector of length one for each text."""
    started = time.monotonic_ns()
    inputs = _texts(request.input)
    if not request.model.strip():
        raise NotFound("model '' not found")
    found = await _find(models, request.model)
    options = models.options(found, request.options)
    async with models.lease(found, options, request.keep_alive) as lease:
        if not inputs:
            return EmbedResponse(model=request.model, embeddings=[])
        message = Embed(
            id=0,
            inputs=inputs,
            truncate=request.truncate is not False,
            dimensions=max(request.dimensions, 0),
            num_ctx=options.num_ctx,
        )
        vectors = await _vectors(lease, message)
        return EmbedResponse(
            model=request.model,
            embeddings=[[_shortest(value) for value in row] for row in _rows(vectors)],
            total_duration=time.monotonic_ns() - started,
            load_duration=lease.load_duration,
            prompt_eval_count=vectors.tokens,
        )


async def embedding(models: Models, request: EmbeddingRequest) -> EmbeddingResponse:
    """One vector, of length one too: what real Ollama's engine does although its handler does not ask for it."""
    if not request.model.strip():
        raise InvalidRequest("model is required")
    found = await _find(models, request.model)
    options: Options = models.options(found, request.options)
    async with models.lease(found, options, request.keep_alive) as lease:
        if not request.prompt:
            return EmbeddingResponse(embedding=[])
        message = Embed(id=0, inputs=[request.prompt], num_ctx=options.num_ctx)
        return EmbeddingResponse(embedding=_rows(await _vectors(lease, message))[0])


async def _find(models: Models, sent: str) -> Any:
    try:
        return (await models.find(sent)).model
    except NotFound as error:
        raise NotFound(f'model "{sent}" not found, try pulling it first') from error


def _texts(given: Any) -> list[str]:
    """`input` as a list; nothing in it means that only the model is to be loaded."""
    if given is None or given == "":
        return []
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise InvalidRequest("invalid input type")
    if len(texts) > MAX_INPUTS:
        raise InvalidRequest(f"more than {MAX_INPUTS} inputs")
    return texts


async def _vectors(lease: Lease, message: Embed) -> Vectors:
    async for event in lease.request(message):
        if isinstance(event, Vectors):
            return event
    raise MlxOllamaError("the model gave no vectors")


def _rows(vectors: Vectors) -> list[list[float]]:
    values = array("f")
    values.frombytes(vectors.data)
    width = vectors.width
    return [values[i * width : (i + 1) * width].tolist() for i in range(vectors.count)]


def _shortest(value: float) -> float:
    """The number with the fewest digits that is this float32."""
    for digits in (7, 8):
        short = float(f"{value:.{digits}g}")
        if struct.pack("f", short) == struct.pack("f", value):
            return short
    return float(f"{value:.9g}")
