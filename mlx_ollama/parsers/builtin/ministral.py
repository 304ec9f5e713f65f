"""ministral: thinking anywhere in the answer, calls by name."""

from mlx_ollama.parsers.builtin.builtin import Builtin, Start
from mlx_ollama.parsers.reader import Format, Steps
from mlx_ollama.parsers.thinking import read_opened_thinking
from mlx_ollama.parsers.tools.mistral import Mistral

_OPEN, _CLOSE = "[THINK]", "[/THINK]"


class Ministral(Format):
    """Never begins inside the thinking, and thinks whether asked to or not."""

    def __init__(self, start: Start) -> None:
        super().__init__()
        self.start = start

    def _parse(self) -> Steps[None]:
        reader, mistral = self.reader, Mistral(declared_only=True)
        while True:
            tag = yield from reader.until(
                *mistral.tags, _OPEN, sink=reader.content, keep_blank=not reader.calls
            )
            if not tag:
                return
            if tag == _OPEN:
                yield from read_opened_thinking(self, _CLOSE, trim=False)
            else:
                yield from mistral.calls(reader, tag, self.start.tools)


NAMES = {
    "ministral": Builtin(
        make=Ministral, preserved_tokens=("[TOOL_CALLS]", "[THINK]", "[/THINK]", "[ARGS]")
    ),
}
