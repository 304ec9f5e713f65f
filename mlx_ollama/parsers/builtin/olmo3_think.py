"""olmo3-think: always begins inside the thinking, whatever `think` says; no calls."""

from mlx_ollama.parsers.builtin.builtin import Builtin, Start
from mlx_ollama.parsers.reader import Format, Steps
from mlx_ollama.parsers.thinking import read_opened_thinking


class Olmo3Think(Format):
    """Thinking unless content is continued, then content."""

    def __init__(self, start: Start) -> None:
        super().__init__()
        self.start = start

    def _parse(self) -> Steps[None]:
        if not self.start.continues_content:
            yield from read_opened_thinking(self, "</think>")


NAMES = {
    "olmo3-think": Builtin(
        make=Olmo3Think, has_tools=False, has_thinking=True, preserved_tokens=("</think>",)
    )
}
