"""lfm2 and lfm2-thinking: thinking in tags of the model's own, calls as a Python list."""

from mlx_ollama.parsers.builtin.builtin import Builtin, Start
from mlx_ollama.parsers.reader import Format, Steps
from mlx_ollama.parsers.thinking import read_opened_thinking
from mlx_ollama.parsers.tools.python_calls import LFM2

_TOKENS = ("<think>", "</think>", "<|tool_call_start|>", "<|tool_call_end|>")


class Lfm2(Format):
    """Content and calls."""

    def __init__(self, start: Start) -> None:
        super().__init__()
        self.start = start

    def _parse(self) -> Steps[None]:
        yield from LFM2.read_answer(self.reader, self.start.tools)


class Lfm2Thinking(Lfm2):
    """Thinks when asked to and the reply begins with the tag."""

    def _parse(self) -> Steps[None]:
        if self.start.thinks(default=False) and not self.start.continues_content:
            self.is_thinking = True
            yield from self.reader.run()
            if (yield from self.reader.prefix("<think>")):
                yield from self.reader.run()
                yield from read_opened_thinking(self, "</think>")
            self.is_thinking = False
        yield from super()._parse()


NAMES = {
    "lfm2": Builtin(make=Lfm2, preserved_tokens=_TOKENS),
    "lfm2-thinking": Builtin(make=Lfm2Thinking, has_thinking=True, preserved_tokens=_TOKENS),
}
