"""olmo3: no thinking, calls as Python, one a line."""

from mlx_ollama.parsers.builtin.builtin import Builtin, Start
from mlx_ollama.parsers.reader import Format, Steps
from mlx_ollama.parsers.tools.python_calls import ends_in_value, read_python_calls
from mlx_ollama.parsers.tools.tool_format import Enclosed, read_answer

_CALLS = Enclosed("<function_calls>", "</function_calls>", read_python_calls, ends_in_value)


class Olmo3(Format):
    """Content and calls."""

    def __init__(self, start: Start) -> None:
        super().__init__()
        self.start = start

    def _parse(self) -> Steps[None]:
        yield from read_answer(self.reader, _CALLS, self.start.tools, trim=False)


NAMES = {"olmo3": Builtin(make=Olmo3, preserved_tokens=("<function_calls>", "</function_calls>"))}
