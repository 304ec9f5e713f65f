"""The messages of a request, complete (contract 8.4, 9.4)."""

import re
from collections.abc import Sequence

import msgspec

from mlx_ollama.api.messages import Message, Tool
from mlx_ollama.api.ollama import GenerateRequest
from mlx_ollama.errors import InvalidRequest
from mlx_ollama.store.model import Model

_OLD_THINKING = re.compile(r"\s*<think>.*?(?:</think>\s*|\Z)", re.DOTALL)


MAX_MESSAGES = 10_000
MAX_TOOLS = 512
MAX_IMAGES = 32


def check_sizes(messages: Sequence[Message], tools: Sequence[Tool] = ()) -> None:
    """InvalidRequest for more than anybody means to send."""
    images = sum(len(message.images) for message in messages)
    for what, count, most in (
        ("messages", len(messages), MAX_MESSAGES),
        ("tools", len(tools), MAX_TOOLS),
        ("images", images, MAX_IMAGES),
    ):
        if count > most:
            raise InvalidRequest(f"{count} {what} are more than the {most} that are allowed")


def chat_messages(model: Model, asked: Sequence[Message]) -> list[Message]:
    """The model's own first, and its system prompt in front unless the request starts with one."""
    given = [_lower_role(message) for message in asked]
    messages = [*model.messages, *given]
    if model.system and given and given[0].role != "system":
        messages.insert(0, Message(role="system", content=model.system))
    return _without_old_thinking(messages) if _thinks_in_text(model) else messages


def generate_messages(model: Model, request: GenerateRequest) -> list[Message]:
    """What a bare prompt becomes; nothing for a raw one or with a suffix."""
    if request.raw or request.suffix:
        return []
    system = request.system or model.system
    messages = [Message(role="system", content=system)] if system else []
    if request.context is None:
        messages += model.messages
    images = request.images or []
    return [*messages, Message(role="user", content=request.prompt, images=images)]


def _lower_role(message: Message) -> Message:
    lower = message.role.lower()
    return message if lower == message.role else msgspec.structs.replace(message, role=lower)


def _thinks_in_text(model: Model) -> bool:
    """Families whose templates leave it to the server to forget earlier thinking."""
    return model.config.model_family == "qwen3" or model.name.model == "deepseek-r1"


def _without_old_thinking(messages: list[Message]) -> list[Message]:
    last_user = max((i for i, message in enumerate(messages) if message.role == "user"), default=-1)
    return [
        msgspec.structs.replace(message, content=_OLD_THINKING.sub("", message.content, count=1))
        if message.role == "assistant" and index < last_user and _starts_thinking(message.content)
        else message
        for index, message in enumerate(messages)
    ]


def _starts_thinking(text: str) -> bool:
    return text.lstrip().startswith("<think>")
