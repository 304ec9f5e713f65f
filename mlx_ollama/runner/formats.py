"""A request's `format` to a grammar, compiled on the text thread of the request."""

import threading
from collections.abc import Callable

from mlx_ollama.engine.grammar import Compiler, InvalidGrammar
from mlx_ollama.engine.sequence import Grammar
from mlx_ollama.errors import InvalidRequest

_NONE = (b"", b"null", b'""')
MAX_SHOWN = 200  # bytes of a wrong format that its error repeats


class Formats:
    """Makes the compiler on first need: reading a vocabulary costs a second or more."""

    def __init__(self, new_compiler: Callable[[], Compiler]) -> None:
        self._new_compiler = new_compiler
        self._compiler: Compiler | None = None
        self._lock = threading.Lock()

    @property
    def is_ready(self) -> bool:
        """Whether the vocabulary has been read."""
        return self._compiler is not None

    def grammar(self, wanted: bytes) -> Grammar | None:
        """The constraint that `format` asks for, None for none. Raises InvalidRequest."""
        source = wanted.strip()
        if source in _NONE:
            return None
        if source != b'"json"' and not source.startswith(b"{"):
            raise InvalidRequest(
                f'invalid format: {_quoted(source)}; expected "json" or a valid JSON Schema object'
            )
        try:
            return self._ready().compile(source)
        except InvalidGrammar as error:
            raise InvalidRequest(_prefixed(str(error))) from error

    def _ready(self) -> Compiler:
        with self._lock:
            if self._compiler is None:
                self._compiler = self._new_compiler()
            return self._compiler


def _prefixed(reason: str) -> str:
    return reason if reason.startswith("invalid format") else f"invalid format: {reason}"


def _quoted(source: bytes) -> str:
    text = source[:MAX_SHOWN].decode("utf-8", "replace")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
