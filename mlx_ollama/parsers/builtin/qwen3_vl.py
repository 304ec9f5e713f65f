"""qwen3-vl-instruct and qwen3-vl-thinking: as qwen3, but `think` changes nothing."""

from mlx_ollama.parsers.builtin.builtin import Builtin
from mlx_ollama.parsers.builtin.qwen3 import Qwen3
from mlx_ollama.parsers.reader import Steps
from mlx_ollama.parsers.thinking import read_opened_thinking
from mlx_ollama.parsers.tools.json_calls import HERMES

_TOKENS = ("</think>", "<tool_call>", "</tool_call>")


class Qwen3VlThinking(Qwen3):
    """Always begins inside the thinking, unless it continues content."""

    def _parse(self) -> Steps[None]:
        if not self.start.continues_content:
            yield from read_opened_thinking(self, "</think>", calls=HERMES.tags)
        yield from super()._parse()


NAMES = {
    "qwen3-vl-instruct": Builtin(make=Qwen3, preserved_tokens=_TOKENS),
    "qwen3-vl-thinking": Builtin(make=Qwen3VlThinking, has_thinking=True, preserved_tokens=_TOKENS),
}
