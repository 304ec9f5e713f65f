"""olmo3: no thinking, calls as Python, one a line."""

from mlx_ollama.parsers.builtin.builtin import Builtin, Start
from mlx_ollama.parsers.reader import Format, Steps
from mlx_ollama.parsers.tools.python_calls import OLMO3


class Olmo3(Format):
    """Content and calls."""

    def __init__(self, start: Start) -> None:
        super().__init__()
        self.start = start

    def _parse(self) -> Steps[None]:
        yield from OLMO3.read_answer(self.reader, self.start.tools)


NAMES = {"olmo3": Builtin(make=Olmo3, preserved_tokens=OLMO3.tokens)}
