"""Calls of MiniMax M2: `<invoke name="…"><parameter name="…">value</parameter>…</invoke>`, typed by the schema."""

import re
from collections.abc import Sequence
from typing import Any

from mlx_ollama.api.messages import Tool
from mlx_ollama.parsers.tools.tool_format import Call, Enclosed
from mlx_ollama.parsers.values import parameter_types, trimmed_value

_INVOKE = re.compile(
    r"\s*<invoke name=[\"']?([^\"'>]+)[\"']?>(.*?)</invoke>(?=\s*(?:<invoke |\Z))", re.DOTALL
)
# A closing tag counts only before the next parameter or the end: else it belongs to the value.
_PARAMETER = re.compile(
    r"\s*<parameter name=[\"']?([^\"'>]+)[\"']?>(.*?)</parameter>(?=\s*(?:<parameter |\Z))",
    re.DOTALL,
)


def _read_parameters(text: str, name: str, tools: Sequence[Tool]) -> dict[str, Any] | None:
    arguments: dict[str, Any] = {}
    at = 0
    while found := _PARAMETER.match(text, at):
        arguments[found[1]] = trimmed_value(found[2], parameter_types(tools, name, found[1]))
        at = found.end()
    return None if text[at:].strip() else arguments


def read_calls(body: str, tools: Sequence[Tool]) -> list[Call] | None:
    """The invocations of a body; None when anything else is in it."""
    calls: list[Call] = []
    at = 0
    while found := _INVOKE.match(body, at):
        arguments = _read_parameters(found[2], found[1], tools)
        if arguments is None:
            return None
        calls.append(Call(found[1], arguments))
        at = found.end()
    return calls if calls and not body[at:].strip() else None


def ends_in_value(body: str) -> bool:
    """Whether a body breaks off inside a parameter."""
    return body.rfind("<parameter ") > body.rfind("</parameter>")


MINIMAX = Enclosed("<minimax:tool_call>", "</minimax:tool_call>", read_calls, ends_in_value)
