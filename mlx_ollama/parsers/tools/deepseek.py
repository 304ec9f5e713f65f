"""Calls of DeepSeek: blocks of `name<｜tool▁sep｜>{…}`, or of `function<｜tool▁sep｜>name` with the JSON fenced."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mlx_ollama.api.messages import Tool
from mlx_ollama.parsers.reader import Reader, Steps, without_partial
from mlx_ollama.parsers.tools.tool_format import Call
from mlx_ollama.parsers.values import ends_in_string, load_object

BLOCK, BLOCK_END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
CALL, CALL_END, SEPARATOR = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>"
_FENCED = re.compile(r"([^\n]*)\n```json\n(.*)\n```\s*", re.DOTALL)


def read_call(body: str) -> Call | None:
    """The call between its begin and end tags, in either style."""
    name, separator, text = body.partition(SEPARATOR)
    fenced = _FENCED.fullmatch(text)
    if fenced:
        name, text = fenced[1], fenced[2]
    arguments = load_object(text)
    if not separator or not name.strip() or arguments is None:
        return None
    return Call(name.strip(), arguments)


@dataclass(frozen=True)
class DeepSeek:
    """A block of calls."""

    @property
    def tags(self) -> tuple[str, ...]:
        return (BLOCK,)

    def calls(self, reader: Reader, tag: str, tools: Sequence[Tool]) -> Steps[None]:
        """Each call on its own; one that cannot be read is text, and so is anything between calls."""
        while True:
            stray, mark = yield from reader.collect(CALL, BLOCK_END)
            stray = stray if mark else without_partial(stray, BLOCK_END)
            if stray.strip() or (tag and not mark):
                reader.refuse(tag + stray)
                tag = ""
            if mark != CALL:
                return
            body, close = yield from reader.enclosed(CALL_END, ends_in_string)
            call = read_call(body if close else without_partial(body, CALL_END))
            if call:
                reader.call(*call)
            else:
                reader.refuse(tag + CALL + body + close)
            tag = ""


DEEPSEEK = DeepSeek()
