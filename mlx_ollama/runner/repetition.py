"""Answers that will never end: the same chunk over and over, or a greedy answer that has run into a circle."""

MAX_IDENTICAL_CHUNKS = 30  # as Ollama: a model that repeats itself longer has lost its way
# A circle counts once it has been gone round so often, and over so many tokens.
MIN_ROUNDS = 30
MIN_TOKENS = 1024
MAX_PERIOD = 512  # tokens of the longest circle that is looked for
_GRAM = 8  # tokens by which an earlier place is known again


class IdenticalChunks:
    """Counts chunks that are the same but for blanks around them."""

    def __init__(self) -> None:
        self._last, self._count = "", 0

    def is_endless(self, chunk: str) -> bool:
        chunk = chunk.strip()
        self._count = self._count + 1 if chunk == self._last else 0
        self._last = chunk
        return self._count > MAX_IDENTICAL_CHUNKS


class Circle:
    """Watches the ids of an answer for a period that goes on.

    Invariant: the last `_run` ids are each the same as the one `_period` before.
    """

    def __init__(self) -> None:
        self._period = self._run = 0
        self._seen: dict[tuple[int, ...], int] = {}

    def is_endless(self, ids: list[int]) -> bool:
        """Call after each id that was added to `ids`."""
        last = len(ids) - 1
        if self._period and ids[last] == ids[last - self._period]:
            self._run += 1
        else:
            self._period, self._run = self._candidate(ids, last), 0
        self._seen[tuple(ids[-_GRAM:])] = last
        return self._run >= max(MIN_TOKENS, MIN_ROUNDS * self._period)

    def _candidate(self, ids: list[int], last: int) -> int:
        """How far back the end of `ids` stood before; 0 when it did not, or too far."""
        place = self._seen.get(tuple(ids[-_GRAM:]))
        return last - place if place is not None and last - place <= MAX_PERIOD else 0
