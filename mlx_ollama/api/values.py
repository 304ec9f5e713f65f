"""Values of requests that JSON has several spellings for."""

from typing import Any, Self

from mlx_ollama import durations
from mlx_ollama.api.messages import Think, Tool

THINK_LEVELS = ("high", "medium", "low", "max")


class Tools(list[Tool]):
    """A list of tools; a type of its own because their JSON is not what a strict decoder expects."""


class KeepAlive(int):
    """Nanoseconds; `durations.FOREVER` for every negative number or duration."""

    @classmethod
    def of(cls, value: Any) -> Self:
        """From its JSON value: seconds, or a Go duration. ValueError with Go's text."""
        if isinstance(value, str):
            nanoseconds = durations.parse(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            nanoseconds = _nanoseconds(value)
        else:
            raise ValueError(f"Unsupported type: '{_go_kind(value)}'")
        forever = nanoseconds < 0 or nanoseconds > durations.FOREVER
        return cls(durations.FOREVER if forever else nanoseconds)


def _nanoseconds(seconds: float) -> int:
    try:
        return int(float(seconds) * durations.SECOND)
    except OverflowError:
        return durations.FOREVER if seconds > 0 else -1


def _go_kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    return "[]interface {}" if isinstance(value, list) else "map[string]interface {}"


def check_think(value: Any) -> Think:
    """`think` as a request may give it; ValueError with Ollama's text."""
    if value is None or isinstance(value, bool) or value in THINK_LEVELS:
        return value
    allowed = '"high", "medium", "low", "max", true, or false'
    if isinstance(value, str):
        raise ValueError(f"invalid think value: {durations.quote(value)} (must be {allowed})")
    raise ValueError(f"think must be a boolean or string ({allowed})")
