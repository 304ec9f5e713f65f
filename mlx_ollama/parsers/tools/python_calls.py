"""Calls written as Python: `[name(key="value", …), …]`, also one a line; nothing is ever evaluated."""

import re
from collections.abc import Sequence
from typing import Any

from mlx_ollama.api.messages import Tool
from mlx_ollama.parsers.tools.tool_format import Call, Enclosed
from mlx_ollama.parsers.values import MAX_DEPTH, to_float, to_integer

_NAME = re.compile(r"\s*([^\W\d][\w.\-]*)\s*\(")
_KEY = re.compile(r"\s*([^\W\d][\w\-]*)\s*=\s*")
_BLANK = re.compile(r"\s*")
_COMMAS = re.compile(r"[\s,]*")
_BETWEEN_CALLS = re.compile(r"[\s,;]*")
_STRING = re.compile(r"""'((?:[^'\\]|\\.)*+)'|"((?:[^"\\]|\\.)*+)\"""", re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_MAPPING_KEY = re.compile(r"""[^:,()\[\]{}'"]+""")
_BARE = re.compile(r"""[^,()\[\]{}'"]+""")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_SIMPLE = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "\n": ""}
_QUOTED = {"\\", "'", '"'}
_WORDS: dict[str, Any] = {
    "true": True, "True": True, "false": False, "False": False,
    "null": None, "None": None, "nil": None,
}  # fmt: skip


def _unescape(found: re.Match[str]) -> str:
    code = found[1] or found[2]
    if code:
        return chr(int(code, 16)) if not 0xD800 <= int(code, 16) < 0xE000 else "\ufffd"
    if found[3] in _QUOTED:
        return found[3]
    return _SIMPLE.get(found[3], found[0])


class _Source:
    """A text and how far it is read; every method raises ValueError where the text is no Python call."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def skip(self, pattern: re.Pattern[str] = _BLANK) -> None:
        found = pattern.match(self.text, self.at)
        self.at = found.end() if found else self.at

    def expect(self, pattern: re.Pattern[str]) -> re.Match[str]:
        found = pattern.match(self.text, self.at)
        if not found:
            raise ValueError("unexpected text")
        self.at = found.end()
        return found

    def sees(self, character: str) -> bool:
        """Take `character` if it comes next."""
        self.skip()
        if not self.text.startswith(character, self.at):
            return False
        self.at += 1
        return True

    def call(self) -> Call:
        name = self.expect(_NAME)[1]
        arguments: dict[str, Any] = {}
        self.skip(_COMMAS)
        while not self.sees(")"):
            key = self.expect(_KEY)[1]
            arguments[key] = self.value(0)
            self.skip(_COMMAS)
        return Call(name, arguments)

    def value(self, depth: int) -> Any:
        self.skip()
        if depth > MAX_DEPTH:
            raise ValueError("nested too deep")
        match self.text[self.at : self.at + 1]:
            case "'" | '"':
                return self.string()
            case "{":
                return self.mapping(depth)
            case "[":
                return self.sequence("]", depth)
            case _:
                return self.bare(depth)

    def string(self) -> str:
        found = self.expect(_STRING)
        raw = found[1] if found[1] is not None else found[2]
        return _ESCAPE.sub(_unescape, raw)

    def sequence(self, close: str, depth: int) -> list[Any]:
        self.at += 1
        items: list[Any] = []
        while not self.sees(close):
            items.append(self.value(depth + 1))
            if not self.sees(",") and not self.text.startswith(close, self.at):
                raise ValueError("a comma is missing")
        return items

    def mapping(self, depth: int) -> dict[str, Any]:
        self.at += 1
        items: dict[str, Any] = {}
        while not self.sees("}"):
            self.skip()
            quoted = self.text.startswith(("'", '"'), self.at)
            key = self.string() if quoted else self.expect(_MAPPING_KEY)[0].strip()
            if not self.sees(":"):
                raise ValueError("a colon is missing")
            items[key] = self.value(depth + 1)
            if not self.sees(",") and not self.text.startswith("}", self.at):
                raise ValueError("a comma is missing")
        return items

    def bare(self, depth: int) -> Any:
        """A number, a word, or text such as `date(2024, 1)`, which stays as it is."""
        start = self.at
        while True:
            self.skip(_BARE)
            if not self.text.startswith(("(", "[", "{"), self.at):
                break
            self.sequence(_CLOSING[self.text[self.at]], depth + 1)
        text = self.text[start : self.at].strip()
        if not text:
            raise ValueError("a value is missing")
        return _bare_value(text)


def _bare_value(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if not _NUMBER.fullmatch(text):
        return text
    try:
        return to_integer(text) if text.lstrip("+-").isdigit() else to_float(text)
    except ValueError:
        return text


def read_python_calls(body: str, tools: Sequence[Tool] = ()) -> list[Call] | None:
    """The calls of a body, in brackets or bare; None when it is anything but calls. Linear in `body`."""
    text = body.strip()
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    source = _Source(text)
    calls: list[Call] = []
    try:
        source.skip(_BETWEEN_CALLS)
        while source.at < len(text):
            calls.append(source.call())
            source.skip(_BETWEEN_CALLS)
    except ValueError:
        return None
    return calls or None


def ends_in_value(body: str) -> bool:
    """Whether Python calls break off inside a string."""
    rest = _STRING.sub("", body)
    return "'" in rest or '"' in rest


LFM2 = Enclosed(
    "<|tool_call_start|>", "<|tool_call_end|>", read_python_calls, ends_in_value, trim=False
)
OLMO3 = Enclosed(
    "<function_calls>", "</function_calls>", read_python_calls, ends_in_value, trim=False
)
