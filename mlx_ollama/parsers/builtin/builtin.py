"""What a built-in parser is given, and what is known about each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mlx_ollama.api.messages import Message, Think, Tool
from mlx_ollama.parsers.parser import OutputParser


@dataclass(frozen=True, kw_only=True)
class Start:
    """How a reply begins. `last_message` is the conversation's last: an assistant's is being continued."""

    tools: Sequence[Tool] = ()
    last_message: Message | None = None
    think: Think = None

    def thinks(self, *, default: bool) -> bool:
        """Whether thinking is on; `default` is the format's own where nothing was asked for."""
        return default if self.think is None else bool(self.think)

    @property
    def continues(self) -> bool:
        """Whether an assistant message is being continued."""
        return self.last_message is not None and self.last_message.role == "assistant"

    @property
    def continues_content(self) -> bool:
        """Whether its content is: the thinking is over then."""
        return self.continues and self.last_message is not None and self.last_message.content != ""


@dataclass(frozen=True, kw_only=True)
class Builtin:
    """A parser by name. `preserved_tokens` must reach it as text though they are special."""

    make: Callable[[Start], OutputParser]
    has_tools: bool = True
    has_thinking: bool = False
    preserved_tokens: tuple[str, ...] = ()
