"""The one interface of all output parsers."""

from typing import Protocol

from msgspec import Struct, field

from mlx_ollama.api.messages import ToolCall


class Parsed(Struct, kw_only=True):
    """What a chunk of text turned out to be; empty while the parser waits for more."""

    content: str = ""
    thinking: str = ""
    tool_calls: list[ToolCall] = field(default_factory=list)


class ParseError(Exception):
    """Model output that a format forbids and that cannot be given as text. Rare: odd calls become content."""


class OutputParser(Protocol):
    """Text of one reply in, parsed text out. The same reply gives the same total however it is split."""

    def add(self, text: str, *, done: bool = False) -> Parsed:
        """Take the next piece; with `done` also release everything still held back."""
        ...

    @property
    def is_thinking(self) -> bool:
        """Whether the text so far has not left the thinking part: a grammar starts only after it."""
        ...
