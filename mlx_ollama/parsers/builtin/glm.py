"""glm-4.7 and glm-ocr: thinking, calls with keys and values."""

from mlx_ollama.parsers.builtin.builtin import Builtin, Start
from mlx_ollama.parsers.reader import Format, Steps
from mlx_ollama.parsers.thinking import read_opened_thinking
from mlx_ollama.parsers.tools.glm import GLM

_TOKENS = ("<think>", "</think>", *GLM.tokens)


class GlmOcr(Format):
    """Thinks where the reply begins with the tag."""

    def __init__(self, start: Start) -> None:
        super().__init__()
        self.start = start

    def _parse(self) -> Steps[None]:
        self.is_thinking = True
        blanks = yield from self.reader.run()
        if (yield from self.reader.prefix("<think>")):
            yield from self.reader.run()
            yield from read_opened_thinking(self, "</think>")
        else:
            self.reader.put_back(blanks)
        self.is_thinking = False
        yield from GLM.read_answer(self.reader, self.start.tools)


class Glm47(GlmOcr):
    """Begins inside the thinking, which the prompt opened, unless told not to think."""

    def _parse(self) -> Steps[None]:
        if self.start.thinks(default=True):
            yield from read_opened_thinking(self, "</think>")
            yield from GLM.read_answer(self.reader, self.start.tools)
        else:
            yield from super()._parse()


NAMES = {
    "glm-4.7": Builtin(make=Glm47, has_thinking=True, preserved_tokens=_TOKENS),
    "glm-ocr": Builtin(make=GlmOcr, preserved_tokens=_TOKENS),
}
