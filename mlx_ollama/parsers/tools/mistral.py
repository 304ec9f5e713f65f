"""Calls of Mistral: `[TOOL_CALLS]name[ARGS]{…}` of newer models, `[TOOL_CALLS] [{…}, …]` of older ones."""

from collections.abc import Sequence
from dataclasses import dataclass

from mlx_ollama.api.messages import Tool
from mlx_ollama.parsers.reader import Reader, Steps
from mlx_ollama.parsers.tools.json_calls import read_calls
from mlx_ollama.parsers.tools.tool_format import AfterTag, Call
from mlx_ollama.parsers.values import load_object

_TAG, _ARGS, _ID = "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"


@dataclass(frozen=True)
class Mistral(AfterTag):
    """With `declared_only` a call of a tool that the request lacks is text."""

    declared_only: bool = False

    @property
    def tokens(self) -> tuple[str, ...]:
        return (_TAG, _ARGS, _ID)

    @property
    def tags(self) -> tuple[str, ...]:
        return (_TAG,)

    def calls(self, reader: Reader, tag: str, tools: Sequence[Tool]) -> Steps[None]:
        names = {tool.function.name for tool in tools}
        blanks = yield from reader.run()
        is_list = yield from reader.prefix("[{", "[ {", "[\n")
        if is_list:
            reader.put_back(is_list)
            text = yield from reader.balanced()
            calls = read_calls(text)
        else:
            calls, text = yield from _named_call(reader)
        if not calls or (self.declared_only and not all(call.name in names for call in calls)):
            reader.refuse(tag + blanks + text)
            return
        for call in calls:
            reader.call(*call)


def _named_call(reader: Reader) -> Steps[tuple[list[Call], str]]:
    """A name, perhaps an id, and an object; the text of it all. No calls when it is none."""
    name, mark = yield from reader.collect(_ARGS, _ID, "{", _TAG)
    text, identity = name + mark, ""
    if mark == _ID:
        identity, mark = yield from reader.collect(_ARGS, _TAG)
        text += identity + mark
    if mark == _TAG:
        reader.put_back(mark)
        return [], text.removesuffix(mark)
    if mark == _ARGS:
        blanks = yield from reader.run()
        mark = yield from reader.prefix("{")
        text += blanks + mark
    if mark != "{":
        return [], text
    reader.put_back(mark)
    body = yield from reader.balanced()
    arguments = load_object(body)
    calls = [] if arguments is None else [Call(name.strip(), arguments, identity.strip())]
    return calls if name.strip() else [], text + body[1:]


MISTRAL = Mistral()
