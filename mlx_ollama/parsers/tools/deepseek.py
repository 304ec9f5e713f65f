"""Calls of DeepSeek: blocks of `name<｜tool▁sep｜>{…}`, or of `function<｜tool▁sep｜>name` with the JSON fenced."""

import re

from mlx_ollama.parsers.tools.tool_format import Call, Section
from mlx_ollama.parsers.values import load_object

_SEPARATOR = "<｜tool▁sep｜>"
_FENCED = re.compile(r"([^\n]*)\n```json\n(.*)\n```\s*", re.DOTALL)


def read_call(body: str) -> Call | None:
    """The call between its begin and end tags, in either style."""
    name, separator, text = body.partition(_SEPARATOR)
    fenced = _FENCED.fullmatch(text)
    if fenced:
        name, text = fenced[1], fenced[2]
    arguments = load_object(text)
    if not separator or not name.strip() or arguments is None:
        return None
    return Call(name.strip(), arguments)


DEEPSEEK = Section(
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁calls▁end｜>",
    "<｜tool▁call▁begin｜>",
    "<｜tool▁call▁end｜>",
    read_call,
    inner_tokens=(_SEPARATOR,),
    trim=False,
)
