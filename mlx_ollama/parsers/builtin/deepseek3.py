"""deepseek3: thinking when asked for, calls in blocks."""

from mlx_ollama.parsers.builtin.builtin import Builtin, Start
from mlx_ollama.parsers.reader import Format, Steps
from mlx_ollama.parsers.thinking import read_opened_thinking
from mlx_ollama.parsers.tools.deepseek import DEEPSEEK

_OUTPUT, _OUTPUT_END = "<｜tool▁output▁begin｜>", "<｜tool▁output▁end｜>"


class DeepSeek3(Format):
    """The prompt opens the thinking. Of a tool's output that the model makes up, the tags are dropped."""

    def __init__(self, start: Start) -> None:
        super().__init__()
        self.start = start

    def _parse(self) -> Steps[None]:
        reader = self.reader
        if self.start.thinks(default=False) and not self.start.continues_content:
            yield from read_opened_thinking(self, "</think>")
        close: tuple[str, ...] = ()
        while tag := (
            yield from reader.until(DEEPSEEK.open, _OUTPUT, *close, sink=reader.content, trim=False)
        ):
            close = (_OUTPUT_END,) if tag == _OUTPUT else ()
            if tag == DEEPSEEK.open:
                yield from DEEPSEEK.calls(reader, tag, self.start.tools)


NAMES = {
    "deepseek3": Builtin(
        make=DeepSeek3,
        has_thinking=True,
        preserved_tokens=(
            "</think>",
            *DEEPSEEK.tokens,
            _OUTPUT,
            _OUTPUT_END,
        ),
    )
}
