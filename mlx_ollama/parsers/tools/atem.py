"""Calls of Glimmer: `<atem:function_calls>` with one invocation of named parameters, values typed by the schema."""

import re
from typing import Any

from mlx_ollama.api.messages import Tool
from mlx_ollama.parsers.tools.tool_format import Call
from mlx_ollama.parsers.values import parameter_types, typed_value

OPEN, CLOSE = "<atem:function_calls>", "</atem:function_calls>"
_INVOKE = re.compile(
    r"\s*<atem:invoke name=\"(.*?)(?:\">|<\|message\|>(?=<atem:parameter ))", re.DOTALL
)
_INVOKE_END = "</atem:invoke>"
# A closing tag counts only before the next parameter or the end: else it belongs to the value.
_PARAMETER = re.compile(
    r"<atem:parameter name=\"([^\"]*)\">(.*?)</atem:parameter>\n?(?=<atem:parameter |\Z)", re.DOTALL
)


def resolve(name: str, tools: dict[str, Tool]) -> str | None:
    """The declared tool that `name` means: itself, or without a namespace that repeats its own."""
    if name in tools:
        return name
    space, dot, rest = name.partition(".")
    return rest if dot and rest in tools and space == rest.partition(".")[0] else None


def read_call(body: str, tools: dict[str, Tool]) -> Call | None:
    """The call of a body; None when it is none, or not of a declared tool."""
    body = body.strip()
    if not body.startswith(OPEN) or not body.endswith(CLOSE):
        return None
    text = body[len(OPEN) : -len(CLOSE)]
    invoked = _INVOKE.match(text)
    if not invoked or not text.rstrip().endswith(_INVOKE_END):
        return None
    name = resolve(invoked[1].replace("<|message|>", ""), tools)
    parameters = text.rstrip()[invoked.end() : -len(_INVOKE_END)]
    arguments = _read_parameters(parameters, tools[name]) if name else None
    return Call(name, arguments) if name and arguments is not None else None


def _read_parameters(text: str, tool: Tool) -> dict[str, Any] | None:
    arguments: dict[str, Any] = {}
    text = text.removeprefix("\n").removesuffix("\n")
    at = 0
    while found := _PARAMETER.match(text, at):
        types = parameter_types([tool], tool.function.name, found[1])
        arguments[found[1]] = typed_value(found[2], types)
        at = found.end()
    return arguments if at == len(text) else None
