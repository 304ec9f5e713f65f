"""gemma4 and gemma4-no-thinking: thinking in a channel, anywhere in the answer; calls in Gemma's syntax."""

from mlx_ollama.parsers.builtin.builtin import Builtin, Start
from mlx_ollama.parsers.reader import Format, Steps
from mlx_ollama.parsers.thinking import read_opened_thinking
from mlx_ollama.parsers.tools.gemma import GEMMA4

_OPEN, _CLOSE = "<|channel>", "<channel|>"
_RESPONSE = "<|tool_response>"
_TOKENS = (_OPEN, _CLOSE, GEMMA4.open, GEMMA4.close, _RESPONSE, '<|"|>')


class Gemma4NoThinking(Format):
    """Thinking that comes all the same is dropped."""

    def __init__(self, start: Start) -> None:
        super().__init__()
        self.start = start
        self.thinks = False

    def _parse(self) -> Steps[None]:
        reader, after_call = self.reader, False
        while tag := (
            yield from reader.until(
                _OPEN, GEMMA4.open, sink=reader.content, trim=False, keep_blank=not after_call
            )
        ):
            if tag == _OPEN:
                yield from reader.prefix("thought\n")
                yield from read_opened_thinking(self, _CLOSE, drop=not self.thinks)
                continue
            calls = reader.calls
            yield from GEMMA4.calls(reader, tag, self.start.tools)
            after_call = reader.calls > calls
            if after_call:
                yield from self._skip_noise()

    def _skip_noise(self) -> Steps[None]:
        """White space and closing tags that models repeat after a call."""
        yield from self.reader.run()
        while (yield from self.reader.prefix(GEMMA4.close, _RESPONSE)):
            yield from self.reader.run()


class Gemma4(Gemma4NoThinking):
    """Thinks when asked to; after a tool's result the prompt has opened the thinking."""

    def _parse(self) -> Steps[None]:
        last = self.start.last_message
        self.thinks = self.start.thinks(default=False)
        if self.thinks and last is not None and last.role == "tool":
            yield from read_opened_thinking(self, _CLOSE)
        elif self.thinks:
            yield from self._wait_for_thinking()
        yield from super()._parse()

    def _wait_for_thinking(self) -> Steps[None]:
        """Until the reply's beginning shows whether it thinks first."""
        self.is_thinking = True
        blanks = yield from self.reader.run()
        tag = yield from self.reader.prefix(_OPEN)
        self.reader.put_back(blanks + tag)
        self.is_thinking = bool(tag)


NAMES = {
    "gemma4": Builtin(make=Gemma4, has_thinking=True, preserved_tokens=_TOKENS),
    "gemma4-no-thinking": Builtin(make=Gemma4NoThinking, preserved_tokens=_TOKENS),
}
