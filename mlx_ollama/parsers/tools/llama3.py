"""Calls of Llama 3: JSON objects after `<|python_tag|>`, or alone where an answer begins with them.

After the tag there may also be `tool.call(key="value")`. Without it only declared tools with arguments count.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mlx_ollama.api.messages import Tool
from mlx_ollama.parsers.reader import Reader, Steps
from mlx_ollama.parsers.tools.generic import LeadingCalls
from mlx_ollama.parsers.tools.json_calls import read_calls
from mlx_ollama.parsers.tools.python_calls import read_python_calls
from mlx_ollama.parsers.tools.tool_format import Call

_TAG = "<|python_tag|>"
_BARE = LeadingCalls("{")
_SIGNS = (_TAG, '"parameters": dictionary of argument name')


def _read_tagged(text: str) -> list[Call] | None:
    calls = read_calls(text) or read_python_calls(text)
    return calls and [call._replace(name=call.name.removesuffix(".call")) for call in calls]


@dataclass(frozen=True)
class Llama3:
    """Calls with and without the tag."""

    @property
    def tokens(self) -> tuple[str, ...]:
        return (_TAG,)

    def appears_in(self, template: str) -> bool:
        return any(sign in template for sign in _SIGNS)

    def read_answer(self, reader: Reader, tools: Sequence[Tool]) -> Steps[None]:
        """Calls without a tag first; what follows the first tag is calls or text to the end."""
        yield from _BARE.read_answer(reader, tools)
        tag = yield from reader.until(_TAG, sink=reader.content, keep_blank=not reader.calls)
        if not tag:
            return
        text, _ = yield from reader.collect("\0")
        for call in (calls := _read_tagged(text)) or ():
            reader.call(*call)
        if not calls:
            reader.refuse(tag + text)


LLAMA3 = Llama3()
