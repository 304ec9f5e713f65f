"""What every renderer gets, and what it is."""

from datetime import datetime
from typing import Protocol

from msgspec import Struct, field

from mlx_ollama.api.messages import Message, Think, Tool


class Conversation(Struct, kw_only=True):
    """One prompt to be. `think` is already resolved (None only where the model cannot think).

    `suffix` with `prompt` asks for fill-in-the-middle; then messages are empty. `now` feeds dates in templates.
    """

    messages: list[Message] = field(default_factory=list)
    tools: list[Tool] = field(default_factory=list)
    think: Think = None
    prompt: str = ""
    suffix: str = ""
    now: datetime | None = None


class TemplateError(Exception):
    """A template that cannot be parsed or run; its text is for the client, without the prefix `template error: `."""


class Renderer(Protocol):
    """Messages to text. One of: a built-in by name, a Go template, a Jinja chat template, a family's fallback."""

    def render(self, conversation: Conversation) -> str:
        """The whole prompt; raises TemplateError."""
        ...
