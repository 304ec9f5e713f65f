"""qwen3.5 and ornith: the prompt opens the thinking; calls as Qwen3-Coder writes them."""

from mlx_ollama.parsers.builtin.builtin import Builtin
from mlx_ollama.parsers.builtin.qwen3_coder import Qwen3Coder
from mlx_ollama.parsers.reader import Steps
from mlx_ollama.parsers.thinking import read_opened_thinking, skip_opening
from mlx_ollama.parsers.tools.qwen3_coder import QWEN3_CODER

_TOKENS = ("<think>", "</think>", "<tool_call>", "</tool_call>")


class Qwen35(Qwen3Coder):
    """Thinks unless told not to, or unless it continues content; a call ends the thinking."""

    def _parse(self) -> Steps[None]:
        if self.start.thinks(default=True) and not self.start.continues_content:
            yield from skip_opening(self, "<think>")
            yield from read_opened_thinking(self, "</think>", calls=QWEN3_CODER.tags)
        yield from super()._parse()


NAMES = {
    "qwen3.5": Builtin(make=Qwen35, has_thinking=True, preserved_tokens=_TOKENS),
    "ornith": Builtin(make=Qwen35, has_thinking=True, preserved_tokens=_TOKENS),
}
