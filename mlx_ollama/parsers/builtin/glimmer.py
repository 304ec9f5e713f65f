"""glimmer: an answer is a row of messages to somebody: the model itself, the user, or a tool."""

import re

from mlx_ollama.parsers.builtin.builtin import Builtin, Start
from mlx_ollama.parsers.reader import Format, Sink, Steps
from mlx_ollama.parsers.tools.atem import CLOSE, OPEN, read_call, resolve

_START, _MESSAGE, _ENDS = "<|start|>", "<|message|>", ("<|eom|>", "<|eot|>")
_NEXT = _START + "assistant"
_WORD = re.compile(r"[^\s<]*")


class Glimmer(Format):
    """The reply begins inside a header. Thinking that was not asked for is dropped."""

    def __init__(self, start: Start) -> None:
        super().__init__()
        self._keeps_thinking = start.thinks(default=True)
        self._tools = {
            tool.function.name.strip(): tool for tool in start.tools if tool.function.name.strip()
        }

    def _parse(self) -> Steps[None]:
        self.is_thinking = self._keeps_thinking
        recipient: str | None = yield from self._header()
        while recipient is not None:
            if resolve(recipient, self._tools):
                recipient = yield from self._call(recipient)
            elif recipient == "self":
                sink = self.reader.thinking if self._keeps_thinking else self.reader.drop
                recipient = yield from self._body(sink)
            else:
                self.is_thinking = False
                recipient = yield from self._content()
            if recipient == "":
                recipient = yield from self._header()

    def _header(self) -> Steps[str | None]:
        """To whom the next message is; None, with the rest as content, where there is none."""
        yield from self.reader.prefix(_NEXT)
        text, tag = yield from self.reader.collect(_MESSAGE)
        if not tag:
            self.reader.content(text)
            return None
        return text.strip().removeprefix("to=").strip() or "user"

    def _body(self, sink: Sink) -> Steps[str | None]:
        """A message's text to its end; whom the next is to: "" not known yet, None at the end of the reply."""
        while True:
            tag = yield from self.reader.until(*_ENDS, _NEXT, sink=sink, trim=False)
            if tag != _NEXT:
                return "" if tag else None
            recipient, text = yield from self._implicit_header()
            if recipient:
                return recipient
            sink(text)

    def _implicit_header(self) -> Steps[tuple[str, str]]:
        """A header without an end before it: its recipient, "" where it is none, and its text."""
        if (yield from self.reader.prefix(_MESSAGE)):
            return "user", ""
        text = _NEXT + (yield from self.reader.prefix(" to="))
        recipient = ""
        if text != _NEXT:
            recipient = yield from self.reader.run(_WORD)
        tag = ""
        if recipient in ("self", "user", *self._tools):
            tag = yield from self.reader.prefix(_MESSAGE)
        return (recipient if tag else "", text + recipient)

    def _call(self, recipient: str) -> Steps[str | None]:
        """A message to a tool: a call, or text."""
        body, following = yield from self._whole_body()
        call = read_call(body, self._tools)
        if call and call.name == resolve(recipient, self._tools):
            self.reader.call(*call)
        else:
            self.reader.content(body)
        return following

    def _content(self) -> Steps[str | None]:
        """A message to the user, who may get a call by mistake."""
        blanks = yield from self.reader.run()
        if not self._tools or not (yield from self.reader.prefix(OPEN)):
            self.reader.content(blanks)
            return (yield from self._body(self.reader.content))
        body, following = yield from self._whole_body()
        call = read_call(OPEN + body, self._tools)
        if call:
            self.reader.call(*call)
        else:
            self.reader.content(blanks + OPEN + body)
        return following

    def _whole_body(self) -> Steps[tuple[str, str | None]]:
        """A message with a call in it, where tags end nothing before the call's own end, if it has one."""
        pieces: list[str] = []
        text, tag = yield from self.reader.collect(CLOSE)
        if tag:
            pieces.append(text + tag)
        else:
            self.reader.put_back(text)
        following = yield from self._body(pieces.append)
        return "".join(pieces), following


NAMES = {
    "glimmer": Builtin(
        make=Glimmer, has_thinking=True, preserved_tokens=(_START, _MESSAGE, *_ENDS)
    ),
}
