"""One chat: check, lease a runner, map its events to chunks (contract 9)."""

import time
from collections.abc import AsyncGenerator
from typing import Any

from mlx_ollama.api.messages import Message
from mlx_ollama.api.ollama import ChatRequest, ChatResponse, ReplyMessage
from mlx_ollama.api.options import Options
from mlx_ollama.errors import InvalidRequest
from mlx_ollama.inference import capabilities, replies
from mlx_ollama.inference.conversation import chat_messages, check_sizes
from mlx_ollama.inference.events import events_of
from mlx_ollama.inference.models import (
    Found,
    Models,
    check_format,
    check_top_logprobs,
    prompting_of,
)
from mlx_ollama.ipc.messages import Chat, Delta, Done, Rendered


async def chat(models: Models, request: ChatRequest) -> AsyncGenerator[ChatResponse, None]:
    """Chunks of the reply, the last one `done`. An error before the first has its own status."""
    started = time.monotonic_ns()
    check_top_logprobs(request.top_logprobs)
    if not request.model.strip():
        raise InvalidRequest("model is required")
    found = await models.find(request.model)
    if not request.messages and request.keep_alive == 0:
        models.unload(found.model)
        yield _chunk(request, done=True, done_reason="unload")
        return
    message = _message(models, found, request)
    async with models.lease(found.model, message.options, request.keep_alive) as lease:
        if not request.messages:
            yield _chunk(request, done=True, done_reason="load")
            return
        async for event in events_of(lease, message):
            chunk = _translated(request, event, started, lease.load_duration)
            if chunk is not None:
                yield chunk


def _message(models: Models, found: Found, request: ChatRequest) -> Chat:
    """Everything that can be refused without a runner is refused here."""
    able, model = found.capabilities, found.model
    capabilities.require_completion(able, request.model, "chat")
    think = capabilities.resolve_think(able, request.model, request.think)
    capabilities.require(able, model.name.full(), ["tools"] if request.tools else [])
    options: Options = models.options(model, request.options)
    messages: list[Message] = request.messages or []
    check_sizes(messages, request.tools or ())
    return Chat(
        id=0,
        prompting=prompting_of(model),
        messages=chat_messages(model, messages),
        tools=list(request.tools or ()),
        options=options,
        think=think,
        format=check_format(request.format),
        truncate=request.truncate is not False,
        shift=request.shift is not False,
        logprobs=request.logprobs,
        top_logprobs=request.top_logprobs,
        debug_render_only=request.debug_render_only,
    )


def _translated(
    request: ChatRequest, event: Delta | Done | Rendered, started: int, load_duration: int
) -> ChatResponse | None:
    if isinstance(event, Delta):
        return _chunk(request, event)
    if isinstance(event, Rendered):
        nobody = ReplyMessage(role="", content="")
        return _chunk(request, message=nobody, **replies.debug_fields(event))
    fields = replies.final_fields(event, started=started, load_duration=load_duration)
    return _chunk(request, **fields)


def _chunk(request: ChatRequest, delta: Delta | None = None, **fields: Any) -> ChatResponse:
    delta = delta or Delta(id=0)
    message = ReplyMessage(
        role="assistant",
        content=delta.content,
        thinking=delta.thinking,
        tool_calls=delta.tool_calls,
    )
    values: dict[str, Any] = {"message": message, "done": False, "logprobs": delta.logprobs}
    return ChatResponse(model=request.model, created_at=replies.now(), **values | fields)


def join(chunks: list[ChatResponse]) -> ChatResponse:
    """The last chunk with the text, thinking, calls and log-probabilities of all."""
    whole = chunks[-1]
    messages = [chunk.message for chunk in chunks]
    whole.message = ReplyMessage(
        role=whole.message.role,
        content="".join(message.content for message in messages),
        thinking="".join(message.thinking for message in messages),
        tool_calls=[call for message in messages for call in message.tool_calls],
    )
    whole.logprobs = [item for chunk in chunks for item in chunk.logprobs]
    return whole
