"""When things happened to one request, as the numbers that clients divide."""

from dataclasses import dataclass

from mlx_ollama.ipc.messages import Metrics


@dataclass(frozen=True, slots=True)
class Step:
    """When an engine's step began and ended, in nanoseconds of the monotonic clock."""

    began: int
    ended: int


class Clock:
    """When a request's prompt began, was read, and its last token came; nanoseconds, 0 for not yet."""

    def __init__(self) -> None:
        self._began = self._read = self._last = 0

    def prefilled(self, step: Step) -> None:
        self._began = self._began or step.began

    def token(self, step: Step) -> None:
        self._began = self._began or step.began
        self._read = self._read or step.ended
        self._last = step.ended

    def metrics(self, prompt_tokens: int, tokens: int, cached: int) -> Metrics:
        """Durations are at least 1: clients divide by them."""
        return Metrics(
            prompt_eval_count=prompt_tokens,
            prompt_eval_duration=max(self._read - self._began, 1),
            eval_count=tokens,
            eval_duration=max(self._last - self._read, 1),
            cached=cached,
        )
