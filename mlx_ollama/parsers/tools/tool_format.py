"""What every tool-call format is, and the loop that reads an answer in one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from mlx_ollama.api.messages import Tool
from mlx_ollama.parsers.reader import Reader, Steps, without_partial


class Call(NamedTuple):
    """One call as a format reads it; `id` only where the format carries one."""

    name: str
    arguments: dict[str, Any]
    id: str = ""


class ToolFormat(Protocol):
    """How a family of models writes calls."""

    @property
    def tags(self) -> tuple[str, ...]:
        """Any of these in the content begins a call."""
        ...

    def calls(self, reader: Reader, tag: str, tools: Sequence[Tool]) -> Steps[None]:
        """Take what belongs to the calls after `tag`; what turns out to be none goes to `reader.refuse`."""
        ...


def read_answer(
    reader: Reader, tool_format: ToolFormat, tools: Sequence[Tool], *, trim: bool = True
) -> Steps[None]:
    """Content and calls to the end of the reply.

    With `trim` white space before a call is dropped. After a call it is kept only where text follows.
    """
    keep_blank = True
    while True:
        tag = yield from reader.until(
            *tool_format.tags, sink=reader.content, trim=trim, keep_blank=keep_blank
        )
        if not tag:
            return
        yield from tool_format.calls(reader, tag, tools)
        keep_blank = not reader.calls


@dataclass(frozen=True)
class Enclosed:
    """Calls between two tags. `read` makes calls of a body, or None; `is_open` says that a body ends in a value.

    A body that is not open and whose calls are all `is_complete` when the reply ends needs no closing tag.
    """

    open: str
    close: str
    read: Callable[[str, Sequence[Tool]], list[Call] | None]
    is_open: Callable[[str], bool] = lambda body: False
    is_complete: Callable[[Call, Sequence[Tool]], bool] = lambda call, tools: True

    @property
    def tags(self) -> tuple[str, ...]:
        return (self.open,)

    def calls(self, reader: Reader, tag: str, tools: Sequence[Tool]) -> Steps[None]:
        body, close = yield from reader.enclosed(self.close, self.is_open)
        calls = self.read(body, tools) if close else self._read_cut(body, tools)
        if calls is None:
            reader.refuse(tag + body + close)
        for call in calls or ():
            reader.call(call.name, call.arguments, call.id)

    def _read_cut(self, body: str, tools: Sequence[Tool]) -> list[Call] | None:
        """The calls of a body that the end of the reply cut off; None when something of them is missing."""
        body = without_partial(body, self.close)
        calls = None if self.is_open(body) else self.read(body, tools)
        return calls if calls and all(self.is_complete(call, tools) for call in calls) else None
