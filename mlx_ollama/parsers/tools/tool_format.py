"""What every tool-call format is, and the kinds that most of them are: after a tag, between two, in a section."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from mlx_ollama.api.messages import Tool
from mlx_ollama.parsers.reader import Reader, Steps, without_partial
from mlx_ollama.parsers.values import ends_in_string


class Call(NamedTuple):
    """One call as a format reads it; `id` only where the format carries one."""

    name: str
    arguments: dict[str, Any]
    id: str = ""


class ToolFormat(Protocol):
    """How a family of models writes calls."""

    @property
    def tokens(self) -> tuple[str, ...]:
        """Texts that the format looks for: a control token that is part of one must reach it as text."""
        ...

    def appears_in(self, template: str) -> bool:
        """Whether a chat template speaks this format."""
        ...

    def read_answer(self, reader: Reader, tools: Sequence[Tool]) -> Steps[None]:
        """Content and calls, to the end of the reply or to where nothing but content can follow."""
        ...


class AfterTag:
    """A format whose calls begin with a tag, anywhere in the content."""

    trim = True  # white space before a call is dropped

    @property
    def tags(self) -> tuple[str, ...]:
        """Any of these begins a call."""
        raise NotImplementedError

    @property
    def tokens(self) -> tuple[str, ...]:
        return self.tags

    def appears_in(self, template: str) -> bool:
        return any(tag in template for tag in self.tags)

    def calls(self, reader: Reader, tag: str, tools: Sequence[Tool]) -> Steps[None]:
        """Take what belongs to the calls after `tag`; what turns out to be none goes to `reader.refuse`."""
        raise NotImplementedError

    def read_answer(self, reader: Reader, tools: Sequence[Tool]) -> Steps[None]:
        """Content and calls to the end of the reply. White space after a call is kept only before text."""
        while tag := (
            yield from reader.until(
                *self.tags, sink=reader.content, trim=self.trim, keep_blank=not reader.calls
            )
        ):
            yield from self.calls(reader, tag, tools)


@dataclass(frozen=True)
class Enclosed(AfterTag):
    """Calls between two tags. `read` makes calls of a body, with texts that stand between them, or None.

    `is_open` says that a body ends in a value.
    A body that is not open and whose calls are all `is_complete` when the reply ends needs no closing tag.
    `signs`: what chat templates of this format have in common, by default the opening tag. `inner_tokens`: tags in
    a body.
    """

    open: str
    close: str
    read: Callable[[str, Sequence[Tool]], list[Call] | list[Call | str] | None]
    is_open: Callable[[str], bool] = lambda body: False
    is_complete: Callable[[Call, Sequence[Tool]], bool] = lambda call, tools: True
    trim: bool = True
    signs: tuple[str, ...] = ()
    inner_tokens: tuple[str, ...] = ()

    @property
    def tags(self) -> tuple[str, ...]:
        return (self.open,)

    @property
    def tokens(self) -> tuple[str, ...]:
        return (self.open, self.close, *self.inner_tokens)

    def appears_in(self, template: str) -> bool:
        return all(sign in template for sign in self.signs or self.tags)

    def calls(self, reader: Reader, tag: str, tools: Sequence[Tool]) -> Steps[None]:
        body, close = yield from reader.enclosed(self.close, self.is_open)
        calls = self.read(body, tools) if close else self._read_cut(body, tools)
        if calls is None:
            reader.refuse(tag + body + close)
        for call in calls or ():
            if isinstance(call, str):
                reader.refuse(call)
            else:
                reader.call(*call)

    def _read_cut(self, body: str, tools: Sequence[Tool]) -> Sequence[Call | str] | None:
        """The calls of a body that the end of the reply cut off; None when something of them is missing."""
        body = without_partial(body, self.close)
        calls = None if self.is_open(body) else self.read(body, tools)
        complete = (
            isinstance(call, Call) and self.is_complete(call, tools) for call in calls or ()
        )
        return calls if calls and all(complete) else None


@dataclass(frozen=True)
class Section(AfterTag):
    """A section of calls, each in tags of its own. `read` makes a call of what is between these, or None.

    A call that cannot be read is text, and so is anything between calls.
    """

    open: str
    close: str
    call_open: str
    call_close: str
    read: Callable[[str], Call | None]
    inner_tokens: tuple[str, ...] = ()
    trim: bool = True

    @property
    def tags(self) -> tuple[str, ...]:
        return (self.open,)

    @property
    def tokens(self) -> tuple[str, ...]:
        return (self.open, self.close, self.call_open, self.call_close, *self.inner_tokens)

    def calls(self, reader: Reader, tag: str, tools: Sequence[Tool]) -> Steps[None]:
        while True:
            stray, mark = yield from reader.collect(self.call_open, self.close)
            stray = stray if mark else without_partial(stray, self.close)
            if stray.strip() or (tag and not mark):
                reader.refuse(tag + stray)
                tag = ""
            if mark != self.call_open:
                return
            body, close = yield from reader.enclosed(self.call_close, ends_in_string)
            call = self.read(body if close else without_partial(body, self.call_close))
            if call:
                reader.call(*call)
            else:
                reader.refuse(tag + self.call_open + body + close)
            tag = ""
