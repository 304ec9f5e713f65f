"""Log-probabilities of an answer's tokens, which leave with the text that they belong to."""

import msgspec

from mlx_ollama.api.messages import Logprob, TopLogprob
from mlx_ollama.engine.sequence import TokenEvent
from mlx_ollama.runner.tokenizer import Tokenizer


class PendingLogprobs:
    """Those of tokens whose text is still held back, in order.

    `top` is how many alternatives are wanted; 0: none are listed.
    """

    def __init__(self, tokenizer: Tokenizer, top: int) -> None:
        self._tokenizer, self._top = tokenizer, top
        self._waiting: list[
            tuple[int, int, Logprob]
        ] = []  # start and end of its text, of which token

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, event: TokenEvent, start: int, end: int) -> None:
        """Take a token whose text is that of the characters from `start` to `end`."""
        if event.logprob is not None:
            self._waiting.append((start, end, self._describe(event, event.logprob)))

    def released(self, size: int, *, cut: bool) -> list[Logprob]:
        """Those of the first `size` characters' tokens; with `cut` also of one that ends beyond them."""
        out = [
            entry for start, end, entry in self._waiting if (start < size if cut else end <= size)
        ]
        self._waiting = self._waiting[len(out) :]
        return out

    def forget(self, size: int) -> None:
        """Drop those of tokens beyond `size` characters."""
        self._waiting = [entry for entry in self._waiting if entry[1] <= size]

    def _describe(self, event: TokenEvent, logprob: float) -> Logprob:
        chosen = self._top_logprob(event.token, logprob)
        found = Logprob(token=chosen.token, logprob=chosen.logprob, bytes=chosen.bytes)
        if self._top:
            top = event.top[: self._top]
            found.top_logprobs = [self._top_logprob(entry.token, entry.logprob) for entry in top]
        return found

    def _top_logprob(self, token: int, logprob: float) -> TopLogprob:
        piece = self._tokenizer.piece(token)
        return TopLogprob(
            token=piece.decode("utf-8", "replace"),
            logprob=min(logprob, 0.0),
            bytes=list(piece) if piece else msgspec.UNSET,
        )
