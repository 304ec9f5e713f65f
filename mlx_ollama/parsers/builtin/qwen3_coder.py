"""qwen3-coder: no thinking, calls with raw parameters."""

from mlx_ollama.parsers.builtin.builtin import Builtin, Start
from mlx_ollama.parsers.reader import Format, Steps
from mlx_ollama.parsers.tools.qwen3_coder import QWEN3_CODER


class Qwen3Coder(Format):
    """Content and calls."""

    def __init__(self, start: Start) -> None:
        super().__init__()
        self.start = start

    def _parse(self) -> Steps[None]:
        yield from QWEN3_CODER.read_answer(self.reader, self.start.tools)


NAMES = {
    "qwen3-coder": Builtin(make=Qwen3Coder, preserved_tokens=("<tool_call>", "</tool_call>")),
}
