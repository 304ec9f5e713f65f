"""Calls of Gemma: `call:name{key:value,…}`, strings in delimiters of their own.

Forgiving as models need it: JSON or single quotes, blanks, and bare words where the schema wants a string.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from mlx_ollama.api.messages import Tool
from mlx_ollama.parsers.tools.tool_format import Call, Enclosed
from mlx_ollama.parsers.values import MAX_DEPTH, load_value, parameter_types, to_float, to_integer

_CALL = re.compile(r"\s*call:\s*([^{]+?)\s*(?=\{)")
_KEY = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*+)"|([^\s:,{}\[\]"']+))\s*:""", re.DOTALL)
_JSON_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_SINGLE_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*+)'(?=\s*[,}\]])", re.DOTALL)
_PLAIN = re.compile(r"[^,{}\[\]]*")
_INTEGER = re.compile(r"-?[0-9]+")
_NUMBER = re.compile(r"-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_WORDS: dict[str, Any] = {"true": True, "false": False, "null": None}


@dataclass(frozen=True)
class _Dialect:
    """`bare_words`: any unquoted text is a string; without, only at the top level where the schema says string."""

    delimiter: str
    bare_words: bool


class _Source:
    """The text of one call's arguments; every method raises ValueError where it is none."""

    def __init__(self, text: str, dialect: _Dialect, tool: str, tools: Sequence[Tool]) -> None:
        self.text, self.at, self.dialect = text, 0, dialect
        self._tool, self._tools = tool, tools

    def skip(self) -> None:
        while self.text[self.at : self.at + 1].isspace():
            self.at += 1

    def sees(self, mark: str) -> bool:
        """Take `mark` if it comes next, after white space."""
        self.skip()
        if not self.text.startswith(mark, self.at):
            return False
        self.at += len(mark)
        return True

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self.text, self.at)
        self.at = found.end() if found else self.at
        return found

    def more(self, close: str) -> bool:
        """Take a comma and say True, or leave `close` and say False."""
        if self.sees(","):
            return True
        if not self.text.startswith(close, self.at):
            raise ValueError("a comma is missing")
        return False

    def mapping(self, depth: int) -> dict[str, Any]:
        items: dict[str, Any] = {}
        while not self.sees("}"):
            key = self.match(_KEY)
            if key is None:
                raise ValueError("a key is missing")
            name = key[1] if key[1] is not None else key[2]
            items[name] = self.value(depth, name if depth == 0 else "")
            self.more("}")
        return items

    def sequence(self, depth: int) -> list[Any]:
        items: list[Any] = []
        while not self.sees("]"):
            items.append(self.value(depth, ""))
            self.more("]")
        return items

    def value(self, depth: int, parameter: str) -> Any:
        """The next value; `parameter` names the one it is for, at the top level."""
        start = self.at
        if depth > MAX_DEPTH:
            raise ValueError("nested too deep")
        if self.sees(self.dialect.delimiter):
            return self.delimited()
        if self.sees("{"):
            return self.mapping(depth + 1)
        if self.sees("["):
            return self.sequence(depth + 1)
        if quoted := self.match(_JSON_STRING):
            return load_value(quoted[0])
        if quoted := self.match(_SINGLE_QUOTED):
            return quoted[1]
        return self.bare(start, parameter)

    def delimited(self) -> str:
        """A string in its delimiters; one that is not closed ends before the closing brace."""
        end = self.text.find(self.dialect.delimiter, self.at)
        start = self.at
        if end < 0:
            self.at = len(self.text.rstrip().removesuffix("}"))
            self.text = self.text[: self.at] + "}"
            return self.text[start : self.at]
        self.at = end + len(self.dialect.delimiter)
        return self.text[start:end]

    def bare(self, start: int, parameter: str) -> Any:
        """A number, a word, or a text without quotes."""
        found = self.match(_PLAIN)
        text = found[0].strip() if found else ""
        if text in _WORDS:
            return _WORDS[text]
        try:
            return _to_number(text)
        except ValueError:
            return self._words(start, parameter)

    def _words(self, start: int, parameter: str) -> str:
        """A text without quotes: at the top level to the next key, which the schema has to declare."""
        bare_words = self.dialect.bare_words
        if not bare_words and "string" not in parameter_types(self._tools, self._tool, parameter):
            raise ValueError("a value is not quoted")
        if parameter:
            keys = r"[\w.\-]+" if bare_words else "|".join(map(re.escape, self._declared()))
            following = re.compile(rf",\s*(?:{keys})\s*:").search(self.text, start)
            end = following.start() if following else len(self.text.rstrip().removesuffix("}"))
            self.at = max(self.at, end)
        if self.at == start:
            raise ValueError("a value is missing")
        return self.text[start : self.at]

    def _declared(self) -> list[str]:
        tools = (tool.function for tool in self._tools if tool.function.name == self._tool)
        return list(next((tool.parameters.properties or {} for tool in tools), {}))


def _to_number(text: str) -> int | float:
    if _INTEGER.fullmatch(text):
        return to_integer(text)
    if _NUMBER.fullmatch(text):
        return to_float(text)
    raise ValueError("not a number")


def _read(body: str, tools: Sequence[Tool], dialect: _Dialect) -> list[Call] | None:
    named = _CALL.match(body)
    if not named:
        return None
    source = _Source(body[named.end() :], dialect, named[1], tools)
    try:
        source.sees("{")
        arguments = source.mapping(0)
    except ValueError:
        return None
    return None if source.text[source.at :].strip() else [Call(named[1], arguments)]


_GEMMA4 = _Dialect('<|"|>', bare_words=False)
_FUNCTION_GEMMA = _Dialect("<escape>", bare_words=True)


def _ends_in_string(delimiter: str, body: str) -> bool:
    return body.count(delimiter) % 2 == 1


GEMMA4 = Enclosed(
    "<|tool_call>",
    "<tool_call|>",
    lambda body, tools: _read(body, tools, _GEMMA4),
    partial(_ends_in_string, _GEMMA4.delimiter),
    trim=False,
    inner_tokens=(_GEMMA4.delimiter,),
)
FUNCTION_GEMMA = Enclosed(
    "<start_function_call>",
    "<end_function_call>",
    lambda body, tools: _read(body, tools, _FUNCTION_GEMMA),
    partial(_ends_in_string, _FUNCTION_GEMMA.delimiter),
    trim=False,
    inner_tokens=(_FUNCTION_GEMMA.delimiter,),
)
