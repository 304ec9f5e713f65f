"""qwen3 and qwen3-thinking: the prompt opens the thinking; calls as Hermes writes them."""

from mlx_ollama.parsers.builtin.builtin import Builtin, Start
from mlx_ollama.parsers.reader import Format, Steps
from mlx_ollama.parsers.thinking import read_opened_thinking, skip_opening
from mlx_ollama.parsers.tools.json_calls import HERMES

_TOKENS = ("<think>", "</think>", "<tool_call>", "</tool_call>")


class Qwen3(Format):
    """Plain answers with calls."""

    def __init__(self, start: Start) -> None:
        super().__init__()
        self.start = start

    def _parse(self) -> Steps[None]:
        yield from HERMES.read_answer(self.reader, self.start.tools)


class Qwen3Thinking(Qwen3):
    """Thinks unless told not to; a call ends the thinking."""

    def _parse(self) -> Steps[None]:
        if self.start.thinks(default=True):
            yield from skip_opening(self, "<think>")
            yield from read_opened_thinking(self, "</think>", calls=HERMES.tags)
        yield from super()._parse()


NAMES = {
    "qwen3": Builtin(make=Qwen3, preserved_tokens=_TOKENS),
    "qwen3-thinking": Builtin(make=Qwen3Thinking, has_thinking=True, preserved_tokens=_TOKENS),
}
