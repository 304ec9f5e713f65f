"""Calls of DeepSeek V3.2 and V4: `<｜DSML｜invoke name="…">` with parameters that say whether they are strings."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mlx_ollama.api.messages import Tool
from mlx_ollama.parsers.tools.tool_format import Call, Enclosed
from mlx_ollama.parsers.values import load_value

_INVOKE = re.compile(
    r'\s*<｜DSML｜invoke name="([^"]+)">(.*?)</｜DSML｜invoke>(?=\s*(?:<｜DSML｜invoke |\Z))',
    re.DOTALL,
)
# A closing tag counts only before the next parameter or the end: else it belongs to the value.
_PARAMETER = re.compile(
    r'\s*<｜DSML｜parameter name="([^"]+)" string="(true|false)">(.*?)</｜DSML｜parameter>'
    r"(?=\s*(?:<｜DSML｜parameter |\Z))",
    re.DOTALL,
)


def _read_parameters(text: str) -> dict[str, Any]:
    """Raises ValueError when anything else is in the text, or what should be JSON is none."""
    arguments: dict[str, Any] = {}
    at = 0
    while found := _PARAMETER.match(text, at):
        arguments[found[1]] = found[3] if found[2] == "true" else load_value(found[3])
        at = found.end()
    if text[at:].strip():
        raise ValueError("not a parameter")
    return arguments


def read_calls(body: str, tools: Sequence[Tool] = ()) -> list[Call] | None:
    """The invocations of a body; None when anything else is in it."""
    calls: list[Call] = []
    at = 0
    try:
        while found := _INVOKE.match(body, at):
            calls.append(Call(found[1], _read_parameters(found[2])))
            at = found.end()
    except ValueError:
        return None
    return calls if calls and not body[at:].strip() else None


def ends_in_value(body: str) -> bool:
    """Whether a body breaks off inside a parameter."""
    return body.rfind("<｜DSML｜parameter ") > body.rfind("</｜DSML｜parameter>")


DSML_V4 = Enclosed(
    "<｜DSML｜tool_calls>",
    "</｜DSML｜tool_calls>",
    read_calls,
    ends_in_value,
    signs=("｜DSML｜", "tool_calls>"),
)
DSML = replace(
    DSML_V4,
    open="<｜DSML｜function_calls>",
    close="</｜DSML｜function_calls>",
    signs=("｜DSML｜", "function_calls>"),
)
