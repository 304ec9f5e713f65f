"""Stop strings over a stream of text, wherever token borders fall.

Invariants: text that is released can no longer be part of a stop string; a stop string is never released;
text before it always is. An empty stop string ends at the first text (as Ollama does).
"""

from collections.abc import Sequence


class StopMatcher:
    """`is_stopped` once a stop string was seen; what comes after is dropped."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.is_stopped = False

    def add(self, text: str) -> str:
        """Take the next piece; the text that may go out now."""
        if self.is_stopped:
            return ""
        if not self._stops:
            return text
        self._held += text
        found = self._first_complete()
        if found >= 0:
            self.is_stopped = True
            return self._release(found)
        return self._release(len(self._held) - self._may_still_match())

    def finish(self) -> str:
        """The answer has ended another way: what was held back is text after all."""
        held, self._held = self._held, ""
        return "" if self.is_stopped else held

    def _first_complete(self) -> int:
        """Where the stop string begins that was complete first, however the text was split; -1 for none."""
        places = ((self._held.find(stop), len(stop)) for stop in self._stops)
        ends = [(place + size, place) for place, size in places if place >= 0]
        return min(ends)[1] if ends else -1

    def _release(self, size: int) -> str:
        out, self._held = self._held[:size], self._held[size:]
        return out

    def _may_still_match(self) -> int:
        """Length of the longest end of the held text that begins a stop string."""
        longest = 0
        for stop in self._stops:
            for size in range(min(len(stop) - 1, len(self._held)), longest, -1):
                if self._held.endswith(stop[:size]):
                    longest = size
                    break
        return longest
