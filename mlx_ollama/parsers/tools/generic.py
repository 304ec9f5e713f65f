"""Calls of models about which only the tag of their Go template is known.

After the tag come JSON objects, `name{…}`, or calls written as Python, loosely punctuated. A call names a declared
tool; everything else is content. With the tag `{` or `[`, calls are only what an answer begins with.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from mlx_ollama.api.messages import Tool
from mlx_ollama.parsers.reader import BLANKS, Reader, Steps
from mlx_ollama.parsers.tools.json_calls import to_arguments
from mlx_ollama.parsers.tools.python_calls import read_python_calls
from mlx_ollama.parsers.tools.tool_format import AfterTag, Call
from mlx_ollama.parsers.values import load_object, load_values

_PUNCTUATION = re.compile(rf"[{BLANKS},;\]]*")
_OPENING = re.compile(rf"[{BLANKS}\[]*")
_PYTHON = re.compile(r"[\w.\-]\s*\(")
_ARGUMENTS = ("arguments", "parameters")


def _names(tools: Sequence[Tool]) -> list[str]:
    """Longest first, so that a name wins over its own beginning."""
    return sorted(
        (tool.function.name for tool in tools if tool.function.name), key=len, reverse=True
    )


def _arguments_beside_name(fields: dict[str, Any], strict: bool) -> dict[str, Any] | None:
    """None when there are none to be read; `strict` wants them to be there at all."""
    given = [fields[key] for key in _ARGUMENTS if fields.get(key) is not None]
    if not given:
        return None if strict else {}
    return next((found for found in map(to_arguments, given) if found is not None), None)


def _call_by_key(fields: dict[str, Any], names: list[str]) -> Call | None:
    """A call written as `{"tool": {arguments}}`."""
    for name in names:
        arguments = to_arguments(fields[name]) if fields.get(name) is not None else None
        if arguments is not None:
            return Call(name, arguments)
    return None


def find_call(value: Any, names: list[str], *, strict: bool) -> Call | None:
    """The first call inside a decoded JSON value, which may wrap it in other objects and lists."""
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        if "name" in fields:
            arguments = _arguments_beside_name(fields, strict) if fields["name"] in names else None
            return None if arguments is None else Call(fields["name"], arguments)
        if call := _call_by_key(fields, names):
            return call
        children = list(fields.values())
    else:
        children = cast("list[Any]", value) if isinstance(value, list) else []
    found = (find_call(child, names, strict=strict) for child in children)
    return next((call for call in found if call), None)


def _name_in(text: str, names: list[str]) -> str:
    """The name that comes first in `text`, the longest of several at one place; "" when there is none."""
    found = [(text.find(name), order, name) for order, name in enumerate(names) if name in text]
    return min(found)[2] if found else ""


def _python_calls(text: str, names: list[str]) -> list[Call]:
    calls = read_python_calls(text) or []
    return calls if all(call.name in names for call in calls) else []


def _bracketed_calls(text: str, names: list[str]) -> list[Call]:
    """Calls of a list: objects, names with objects, or Python; empty when anything in it is no call."""
    inner = text.strip()[1:-1]
    values = load_values(inner)
    if values is None:
        bare = re.fullmatch(r"\s*([\w.\-]+)\s*(\{.*\})\s*", inner, re.DOTALL)
        arguments = load_object(bare[2]) if bare and bare[1] in names else None
        return (
            [Call(bare[1], arguments)]
            if bare and arguments is not None
            else _python_calls(text, names)
        )
    calls = [find_call(value, names, strict=True) for value in values]
    return [call for call in calls if call] if all(calls) else []


@dataclass(frozen=True)
class LeadingCalls:
    """Calls that an answer begins with, without a tag: `bracket` is `{` or `[`.

    `signs`: any of them shows a chat template of this format.
    """

    bracket: str
    signs: tuple[str, ...] = ()

    @property
    def tokens(self) -> tuple[str, ...]:
        return ()

    def appears_in(self, template: str) -> bool:
        return any(sign in template for sign in self.signs)

    def read_answer(self, reader: Reader, tools: Sequence[Tool]) -> Steps[None]:
        """Calls as long as there are any; from the first other thing on, everything is content."""
        names = _names(tools)
        before = yield from reader.run()
        while (yield from reader.prefix(self.bracket)):
            reader.put_back(self.bracket)
            text = yield from reader.balanced()
            calls = self._read(text, names)
            if not calls:
                reader.content(before + text)
                return
            if not reader.calls:
                reader.content(before)
            for call in calls:
                reader.call(*call)
            before = _blank_end((yield from reader.run(_PUNCTUATION)))
        if not reader.calls or (yield from reader.some()):
            reader.content(before)

    def _read(self, text: str, names: list[str]) -> list[Call]:
        if self.bracket == "[":
            return _bracketed_calls(text, names)
        value = load_object(text)
        call = find_call(value, names, strict=True) if value else None
        return [call] if call else []


@dataclass(frozen=True)
class TaggedCalls(AfterTag):
    """Calls after a tag, to the tag that closes it or to the first thing that is no call.

    `close`: that tag; by default what the look of `tag` tells.
    """

    tag: str
    close: str = ""
    trim: bool = False

    @property
    def tokens(self) -> tuple[str, ...]:
        return (self.tag, self._closing)

    @property
    def tags(self) -> tuple[str, ...]:
        return (self.tag,)

    @property
    def _closing(self) -> str:
        """What closes the tag, else what cannot occur."""
        if self.close:
            return self.close
        return f"{self.tag[0]}/{self.tag[1:]}" if self.tag[0] in "<[" else "\0"

    def calls(self, reader: Reader, tag: str, tools: Sequence[Tool]) -> Steps[None]:
        names = _names(tools)
        while True:
            calls, text = yield from self._next(reader, names)
            if not calls:
                reader.refuse(tag + text)
                return
            for call in calls:
                reader.call(*call)
            tag = yield from self._between(reader)
            begin = yield from reader.prefix("{", *names)
            reader.put_back(begin or tag)
            if not begin:
                return

    def _next(self, reader: Reader, names: list[str]) -> Steps[tuple[list[Call], str]]:
        """The next object with the text before it, or all text up to the closing tag: its calls, and itself."""
        before, mark = yield from reader.collect("{", self._closing)
        if mark == "{" and not _PYTHON.search(before):
            reader.put_back(mark)
            text = yield from reader.balanced()
            return _calls_of_object(before, text, names), before + text
        if mark == "{":
            rest, mark = yield from reader.collect(self._closing)
            before = f"{before}{{{rest}"
        return _python_calls(before, names), before + mark

    def _between(self, reader: Reader) -> Steps[str]:
        """Skip punctuation and tags after a call; return the white space at their end."""
        between = yield from reader.run(_PUNCTUATION)
        while tag := (yield from reader.prefix(self._closing, self.tag)):
            between = yield from reader.run(_OPENING if tag == self.tag else _PUNCTUATION)
        return _blank_end(between)


def _blank_end(text: str) -> str:
    return text[len(text.rstrip(BLANKS)) :]


def _calls_of_object(before: str, text: str, names: list[str]) -> list[Call]:
    value = load_object(text)
    if value is None:
        return []
    name = _name_in(before, names)
    call = find_call(value, names, strict=False) or (Call(name, value) if name else None)
    return [call] if call else []
