"""laguna and poolside-v1: thinking anywhere in the answer, calls with keys and values or as JSON."""

from collections.abc import Sequence

from mlx_ollama.api.messages import Tool
from mlx_ollama.parsers.builtin.builtin import Builtin, Start
from mlx_ollama.parsers.reader import Format, Steps
from mlx_ollama.parsers.thinking import read_opened_thinking, skip_opening
from mlx_ollama.parsers.tools.glm import ends_in_value, read_calls as read_pairs
from mlx_ollama.parsers.tools.json_calls import to_call
from mlx_ollama.parsers.tools.tool_format import Call, Enclosed
from mlx_ollama.parsers.values import load_object

_OPEN, _CLOSE, _TOOL, _USER, _USER_END = "<think>", "</think>", "<tool_call>", "<user>", "</user>"
_TOKENS = (
    _OPEN,
    _CLOSE,
    _TOOL,
    "</tool_call>",
    _USER,
    _USER_END,
    "<arg_key>",
    "</arg_key>",
    "<arg_value>",
    "</arg_value>",
)
# Names that the model was taught, and what clients call the same tools.
_ALIASES = {
    "read_file": "read",
    "write_file": "write",
    "edit_file": "edit",
    "web_fetch": "webfetch",
}


def _resolve(name: str, tools: Sequence[Tool]) -> str:
    declared = {tool.function.name for tool in tools}
    alias = _ALIASES.get(name, name)
    return alias if name not in declared and alias in declared else name


def _read_calls(body: str, tools: Sequence[Tool]) -> list[Call] | None:
    """A call as a JSON object, as `name{…}`, or as a name with keys and values."""
    text = body.strip()
    while text.startswith(_TOOL):
        text = text.removeprefix(_TOOL).strip()
    if text.startswith("{"):
        call = to_call(load_object(text))
        return call and [call._replace(name=_resolve(call.name, tools))]
    name, tag, pairs = text.partition("<arg_key>")
    name, brace, rest = (name, "", "") if tag else name.partition("{")
    name = _resolve(name.strip(), tools)
    if not brace:
        return read_pairs(name + tag + pairs, tools)
    arguments = load_object(brace + rest)
    return None if arguments is None or not name else [Call(name, arguments)]


_CALLS = Enclosed(_TOOL, "</tool_call>", _read_calls, ends_in_value)


class Laguna(Format):
    """Thinks when asked to and no answer is continued; thinking that comes all the same is dropped."""

    def __init__(self, start: Start) -> None:
        super().__init__()
        self.start = start

    @property
    def _continues(self) -> bool:
        return self.start.continues

    def _parse(self) -> Steps[None]:
        thinks = self.start.thinks(default=False)
        if thinks and not self._continues:
            yield from skip_opening(self, _OPEN, keep_blanks=False)
            yield from read_opened_thinking(self, _CLOSE, calls=(_TOOL,))
        reader = self.reader
        yield from reader.run()
        tags = (_OPEN, _CLOSE, _TOOL, *((_USER,) if self.start.tools else ()))
        while tag := (
            yield from reader.until(*tags, sink=reader.content, keep_blank=not reader.calls)
        ):
            if tag == _OPEN:
                reader.refuse("")
                yield from read_opened_thinking(self, _CLOSE, calls=(_TOOL,), drop=not thinks)
            elif tag == _TOOL:
                yield from _CALLS.calls(reader, tag, self.start.tools)
            elif tag == _USER:
                yield from self._user_alias()

    def _user_alias(self) -> Steps[None]:
        """A call of a declared tool in the wrong tags; anything else in them is text."""
        tools = self.start.tools
        text, close = yield from self.reader.collect(_USER_END)
        calls = _read_calls(text, tools) if close else None
        if calls and calls[0].name in {tool.function.name for tool in tools}:
            self.reader.call(*calls[0])
        else:
            self.reader.refuse(_USER + text + close)


class PoolsideV1(Laguna):
    """Thinks when asked to, also where an answer is continued."""

    @property
    def _continues(self) -> bool:
        return False


NAMES = {
    "laguna": Builtin(make=Laguna, has_thinking=True, preserved_tokens=_TOKENS),
    "poolside-v1": Builtin(make=PoolsideV1, has_thinking=True, preserved_tokens=_TOKENS),
}
