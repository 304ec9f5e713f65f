"""cohere: an answer in blocks, each of thinking, text or actions."""

from collections.abc import Sequence
from typing import Any, cast

from mlx_ollama.api.messages import Tool
from mlx_ollama.parsers.builtin.builtin import Builtin, Start
from mlx_ollama.parsers.reader import Format, Steps
from mlx_ollama.parsers.thinking import read_opened_thinking
from mlx_ollama.parsers.tools.json_calls import to_arguments
from mlx_ollama.parsers.tools.tool_format import Call, Enclosed
from mlx_ollama.parsers.values import ends_in_string, load_object, objects_in

_END_THINKING = "<|END_THINKING|>"
_TEXTS = ("<|START_TEXT|>", "<|START_RESPONSE|>")
_TEXT_ENDS = ("<|END_TEXT|>", "<|END_RESPONSE|>")
_END_OF_TURN = "<|END_OF_TURN_TOKEN|>"


def _to_call(value: Any) -> Call | None:
    if not isinstance(value, dict):
        return None
    fields = cast("dict[str, Any]", value)
    name, arguments = fields.get("tool_name"), to_arguments(fields.get("parameters"))
    if not isinstance(name, str) or not name or arguments is None:
        return None
    identity = fields.get("tool_call_id")
    return Call(name, arguments, "" if identity is None else str(identity))


def _read_actions(body: str, _tools: Sequence[Tool]) -> list[Call | str] | None:
    """The actions of a block: a list of objects, which may be empty. What is no action is text."""
    text = body.strip().removeprefix("[").removesuffix("]")
    if not text.strip():
        return []
    pieces = [piece for piece in objects_in(text) if piece.strip(" \n\r\t,")]
    calls = [_to_call(load_object(piece)) or piece for piece in pieces]
    return calls if any(isinstance(call, Call) for call in calls) else None


_ACTIONS = Enclosed("<|START_ACTION|>", "<|END_ACTION|>", _read_actions, ends_in_string)


class Cohere(Format):
    """Begins inside the thinking unless told not to; continues content where an assistant's is continued."""

    def __init__(self, start: Start) -> None:
        super().__init__()
        self.start = start

    def _parse(self) -> Steps[None]:
        if self.start.continues_content:
            yield from self._text()
        elif self.start.thinks(default=True):
            yield from read_opened_thinking(self, _END_THINKING)
        while (yield from self._next_block()):
            pass

    def _next_block(self) -> Steps[bool]:
        """One block, or text outside of one; False at the end."""
        yield from self.reader.run()
        if not (yield from self.reader.some()):
            return False
        tag = yield from self.reader.prefix(*_TEXTS, _ACTIONS.open, _END_OF_TURN)
        if tag == _ACTIONS.open:
            yield from _ACTIONS.calls(self.reader, tag, self.start.tools)
        elif tag != _END_OF_TURN:
            yield from self._text()
        return True

    def _text(self) -> Steps[None]:
        content = self.reader.content
        yield from self.reader.until(*_TEXT_ENDS, _END_OF_TURN, sink=content, trim=False)


NAMES = {
    "cohere": Builtin(
        make=Cohere,
        has_thinking=True,
        preserved_tokens=(
            "<|START_THINKING|>",
            _END_THINKING,
            "<|START_TEXT|>",
            "<|END_TEXT|>",
            "<|START_ACTION|>",
            "<|END_ACTION|>",
            "<|START_RESPONSE|>",
            "<|END_RESPONSE|>",
        ),
    )
}
