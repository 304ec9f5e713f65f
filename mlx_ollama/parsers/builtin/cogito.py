"""cogito: thinking when asked for and no tools are given, calls in blocks."""

from mlx_ollama.parsers.builtin.builtin import Builtin, Start
from mlx_ollama.parsers.reader import Format, Steps
from mlx_ollama.parsers.thinking import read_opened_thinking
from mlx_ollama.parsers.tools.deepseek import DEEPSEEK

_OUTPUT, _OUTPUT_END = "<｜tool▁output▁begin｜>", "<｜tool▁output▁end｜>"
_OUTPUTS, _OUTPUTS_END = "<｜tool▁outputs▁begin｜>", "<｜tool▁outputs▁end｜>"


class Cogito(Format):
    """The prompt opens the thinking. Tool outputs that the model makes up are dropped whole."""

    def __init__(self, start: Start) -> None:
        super().__init__()
        self.start = start

    def _parse(self) -> Steps[None]:
        reader, start = self.reader, self.start
        if start.thinks(default=False) and not start.continues_content and not start.tools:
            yield from read_opened_thinking(self, "</think>")
        while tag := (
            yield from reader.until(DEEPSEEK.open, _OUTPUTS, sink=reader.content, trim=False)
        ):
            if tag == DEEPSEEK.open:
                yield from DEEPSEEK.calls(reader, tag, start.tools)
                continue
            text, close = yield from reader.collect(_OUTPUTS_END)
            if not close:
                reader.refuse(tag + text)


NAMES = {
    "cogito": Builtin(
        make=Cogito,
        has_thinking=True,
        preserved_tokens=(
            "</think>",
            *DEEPSEEK.tokens,
            _OUTPUT,
            _OUTPUT_END,
            _OUTPUTS,
            _OUTPUTS_END,
        ),
    )
}
