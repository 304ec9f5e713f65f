"""Calls of Kimi K2: a section of calls, each `functions.name:0<|tool_call_argument_begin|>{…}`; that is their id."""

import re

from mlx_ollama.parsers.tools.tool_format import Call, Section
from mlx_ollama.parsers.values import load_object

_ARGUMENTS = "<|tool_call_argument_begin|>"
_ID = re.compile(r"(?:functions\.)?(.+?)(?::\d+)?")


def read_call(body: str) -> Call | None:
    """The call between its begin and end tags."""
    identity, separator, text = body.partition(_ARGUMENTS)
    named = _ID.fullmatch(identity.strip())
    arguments = load_object(text) if separator else None
    if not named or arguments is None:
        return None
    return Call(named[1], arguments, identity.strip())


KIMI = Section(
    "<|tool_calls_section_begin|>",
    "<|tool_calls_section_end|>",
    "<|tool_call_begin|>",
    "<|tool_call_end|>",
    read_call,
    inner_tokens=(_ARGUMENTS,),
)
