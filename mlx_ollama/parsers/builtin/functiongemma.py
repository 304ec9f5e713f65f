"""functiongemma: no thinking, calls in Gemma's syntax."""

from mlx_ollama.parsers.builtin.builtin import Builtin, Start
from mlx_ollama.parsers.reader import Format, Steps
from mlx_ollama.parsers.tools.gemma import FUNCTION_GEMMA


class FunctionGemma(Format):
    """Content and calls."""

    def __init__(self, start: Start) -> None:
        super().__init__()
        self.start = start

    def _parse(self) -> Steps[None]:
        yield from FUNCTION_GEMMA.read_answer(self.reader, self.start.tools)


NAMES = {
    "functiongemma": Builtin(
        make=FunctionGemma, preserved_tokens=("<start_function_call>", "<end_function_call>")
    )
}
