"""Calls of Qwen3-Coder: `<function=name><parameter=key>value</parameter>…</function>`, values typed by the schema.

It is no XML: values are raw text, which may hold tags, ampersands and even these closing tags.
"""

import re
from collections.abc import Sequence
from typing import Any

from mlx_ollama.api.messages import Tool
from mlx_ollama.parsers.tools.tool_format import Call, Enclosed
from mlx_ollama.parsers.values import parameter_types, trimmed_value

_FUNCTION = re.compile(r"<function=([^>]+)>")
_FUNCTION_END = re.compile(r"</function>(?=\s*(?:<function=|\Z))")
_PARAMETER = re.compile(r"<parameter=([^>]+)>")
# A closing tag counts only before the next part of the call: else it belongs to the value.
_VALUE_END = re.compile(r"</parameter>(?=\s*(?:<parameter=|</function>|\Z))")
_LINE_PARAMETER = re.compile(r"\n<parameter=([^>]+)>")


def _value_end(text: str, at: int, declared: set[str]) -> int:
    """Where the value at `at` ends: its closing tag, a declared parameter on a new line, or the end."""
    found = _VALUE_END.search(text, at)
    end = found.start() if found else len(text)
    following = (
        opened.start()
        for opened in _LINE_PARAMETER.finditer(text, at, end)
        if opened[1] in declared
    )
    return next(following, end)


def _read_parameters(text: str, name: str, tools: Sequence[Tool]) -> dict[str, Any]:
    properties = (
        tool.function.parameters.properties for tool in tools if tool.function.name == name
    )
    declared = set(next(properties, None) or ())
    arguments: dict[str, Any] = {}
    at = 0
    while opened := _PARAMETER.search(text, at):
        at = _value_end(text, opened.end(), declared)
        key = opened[1]
        arguments[key] = trimmed_value(text[opened.end() : at], parameter_types(tools, name, key))
    return arguments


def read_calls(body: str, tools: Sequence[Tool]) -> list[Call | str] | None:
    """The functions of a body and texts around them; None when there is none, or one is not closed."""
    calls: list[Call | str] = []
    at = 0
    while opened := _FUNCTION.search(body, at):
        closed = _FUNCTION_END.search(body, opened.end())
        if not closed:
            return None
        parameters = _read_parameters(body[opened.end() : closed.start()], opened[1], tools)
        calls += [*_text(body[at : opened.start()]), Call(opened[1], parameters)]
        at = closed.end()
    return [*calls, *_text(body[at:])] if calls else None


def _text(text: str) -> list[str]:
    return [text] if text.strip() else []


def ends_in_value(body: str) -> bool:
    """Whether a body breaks off inside a parameter."""
    return body.rfind("<parameter=") > body.rfind("</parameter>")


SEED = Enclosed("<seed:tool_call>", "</seed:tool_call>", read_calls, ends_in_value)
QWEN3_CODER = Enclosed(
    "<tool_call>", "</tool_call>", read_calls, ends_in_value, signs=("<tool_call>", "<function=")
)
