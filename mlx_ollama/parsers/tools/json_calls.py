"""Calls as JSON objects; in `<tool_call>` tags that is the format of Hermes and Qwen."""

from collections.abc import Sequence
from typing import Any, cast

from mlx_ollama.api.messages import Tool
from mlx_ollama.parsers.tools.tool_format import Call, Enclosed
from mlx_ollama.parsers.values import ends_in_string, load_object, load_values


def to_arguments(value: Any) -> dict[str, Any] | None:
    """Arguments as an object, or as a string that holds one; null means none. None when it is anything else."""
    if value is None:
        return {}
    if isinstance(value, str):
        return load_object(value)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def to_call(value: Any) -> Call | None:
    """A call from a decoded JSON object; keys in any case, `parameters` for `arguments`, wrapped in `function`."""
    if not isinstance(value, dict):
        return None
    fields = {key.lower(): item for key, item in cast("dict[str, Any]", value).items()}
    if "name" not in fields and isinstance(fields.get("function"), dict):
        return to_call(fields["function"])
    name = fields.get("name")
    arguments = to_arguments(fields.get("arguments", fields.get("parameters")))
    if not isinstance(name, str) or not name.strip() or arguments is None:
        return None
    identity = fields.get("id")
    return Call(name, arguments, identity if isinstance(identity, str) else "")


def read_calls(body: str, tools: Sequence[Tool] = ()) -> list[Call] | None:
    """All calls of a body: objects one after another, or lists of them. None when anything in it is no call."""
    values = load_values(body)
    if not values:
        return None
    flat = [item for value in values for item in (value if isinstance(value, list) else [value])]
    calls = [call for call in map(to_call, flat) if call is not None]
    return calls if calls and len(calls) == len(flat) else None


HERMES = Enclosed("<tool_call>", "</tool_call>", read_calls, ends_in_string)
