"""Tool call arguments as text, the ways several formats share."""

from typing import Any

from mlx_ollama.api.messages import ToolCall
from mlx_ollama.prompt.go_json import as_request_numbers, marshal
from mlx_ollama.prompt.go_template.formatting import format_value


def arguments(call: ToolCall) -> list[tuple[str, Any]]:
    """Names and values in the order they came, numbers as Go has them."""
    return [
        (name, as_request_numbers(value)) for name, value in (call.function.arguments or {}).items()
    ]


def sorted_arguments(call: ToolCall) -> list[tuple[str, Any]]:
    """Names and values by name."""
    return sorted(arguments(call), key=lambda entry: entry[0].encode())


def plain_text(value: Any) -> str:
    """Strings as they are, containers as JSON, the rest as Go prints it."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return value
    return marshal(value) if isinstance(value, (dict, list)) else format_value(value)


def whole_number(value: float) -> str:
    """A number without a fraction in full, others as Go prints them."""
    is_whole = value == value // 1 and abs(value) < 1 << 63
    return str(int(value)) if is_whole else format_value(value)


def braced(value: Any, quote: str, null: str) -> str:
    """Google's way: strings between `quote`s, keys of objects bare and sorted."""
    match value:
        case None:
            return null
        case str():
            return f"{quote}{value}{quote}"
        case dict():
            keys = sorted(value, key=str.encode)
            return "{" + ",".join(f"{key}:{braced(value[key], quote, null)}" for key in keys) + "}"
        case list():
            return "[" + ",".join(braced(item, quote, null) for item in value) + "]"
        case float():
            return whole_number(value)
        case _:
            return format_value(value)
