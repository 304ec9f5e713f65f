"""One bare prompt: raw, suffix, context, or a conversation of one turn (contract 8)."""

import time
from collections.abc import AsyncGenerator
from typing import Any

from mlx_ollama.api.messages import Message, ToolCall
from mlx_ollama.api.ollama import GenerateRequest, GenerateResponse
from mlx_ollama.errors import InvalidRequest, NotFound
from mlx_ollama.inference import capabilities, replies
from mlx_ollama.inference.conversation import check_sizes, generate_messages
from mlx_ollama.inference.events import events_of
from mlx_ollama.inference.models import (
    Found,
    Models,
    check_format,
    check_top_logprobs,
    prompting_of,
)
from mlx_ollama.ipc.messages import Delta, Done, Generate, Rendered


async def generate(
    models: Models, request: GenerateRequest
) -> AsyncGenerator[GenerateResponse, None]:
    """Chunks of the reply, the last one `done`. An error before the first has its own status."""
    started = time.monotonic_ns()
    check_top_logprobs(request.top_logprobs)
    if not request.model.strip():
        raise NotFound("model '' not found")
    found = await models.find(request.model)
    if not request.prompt and request.keep_alive == 0:
        models.unload(found.model)
        yield _chunk(request, done=True, done_reason="unload")
        return
    message = _message(models, found, request)
    async with models.lease(found.model, message.options, request.keep_alive) as lease:
        if not request.prompt:
            yield _chunk(request, done=True, done_reason="load")
            return
        calls: list[ToolCall] = []
        async for event in events_of(lease, message):
            if isinstance(event, Delta):
                calls += event.tool_calls
                yield _chunk(request, event)
            elif isinstance(event, Rendered):
                yield _chunk(request, **replies.debug_fields(event))
            else:
                yield _final(request, event, calls, started, lease.load_duration)


def _message(models: Models, found: Found, request: GenerateRequest) -> Generate:
    """Everything that can be refused without a runner is refused here, in Ollama's order."""
    able, model = found.capabilities, found.model
    if request.raw and (request.template or request.system or request.context):
        raise InvalidRequest("raw mode does not support template, system, or context")
    capabilities.require_completion(able, request.model, "generate")
    think = capabilities.resolve_think(able, request.model, request.think)
    capabilities.require(able, model.name.full(), ["insert"] if request.suffix else [])
    images = request.images or []
    check_sizes([Message(images=images)])
    return Generate(
        id=0,
        prompting=prompting_of(model),
        options=models.options(model, request.options),
        think=think,
        format=check_format(request.format),
        truncate=request.truncate is not False,
        shift=request.shift is not False,
        logprobs=request.logprobs,
        top_logprobs=request.top_logprobs,
        debug_render_only=request.debug_render_only,
        prompt=request.prompt,
        suffix=request.suffix,
        template=request.template,
        context=request.context,
        raw=request.raw,
        images=images,
        messages=generate_messages(model, request),
    )


def _final(
    request: GenerateRequest, done: Done, calls: list[ToolCall], started: int, load_duration: int
) -> GenerateResponse:
    fields = replies.final_fields(done, started=started, load_duration=load_duration)
    context = [] if request.raw else done.context
    return _chunk(request, context=context, tool_calls=calls, **fields)


def _chunk(request: GenerateRequest, delta: Delta | None = None, **fields: Any) -> GenerateResponse:
    delta = delta or Delta(id=0)
    values: dict[str, Any] = {"done": False, "logprobs": delta.logprobs} | fields
    return GenerateResponse(
        model=request.model,
        created_at=replies.now(),
        response=delta.content,
        thinking=delta.thinking,
        **values,
    )


def join(chunks: list[GenerateResponse]) -> GenerateResponse:
    """The last chunk with the text, thinking and log-probabilities of all."""
    whole = chunks[-1]
    whole.response = "".join(chunk.response for chunk in chunks)
    whole.thinking = "".join(chunk.thinking for chunk in chunks)
    whole.logprobs = [item for chunk in chunks for item in chunk.logprobs]
    return whole
