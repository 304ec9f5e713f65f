"""passthrough: everything is content."""

from mlx_ollama.parsers.builtin.builtin import Builtin, Start
from mlx_ollama.parsers.reader import Format, Steps


class Passthrough(Format):
    """Ends at once: what follows a format's end is content."""

    def __init__(self, start: Start | None = None) -> None:
        super().__init__()

    def _parse(self) -> Steps[None]:
        yield from ()


NAMES = {"passthrough": Builtin(make=Passthrough, has_tools=False)}
