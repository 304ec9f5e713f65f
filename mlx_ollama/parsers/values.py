"""Values in model output: JSON that may be hostile, and text typed by a tool's schema."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn, cast

from mlx_ollama.api.messages import Tool, ToolProperty

MAX_DEPTH = 64  # of nested lists and objects; a call beyond it is text

_STRINGS_OR_BRACES = re.compile(r'"(?:[^"\\]|\\.)*+"|[{}]', re.DOTALL)
_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_SEPARATORS = re.compile(r"[\s,;]*")
_MAX_VALUES = 1000  # side by side in one text
_MAX_DIGITS = 400  # no float has more before its point


def to_integer(text: str) -> int | float:
    """A whole number; a float where it would not fit 64 bits. ValueError when no float holds it either."""
    if len(text) < 20:
        number = int(text)
        if -(2**63) <= number < 2**64:
            return number
    elif len(text) == 20 and -(2**63) <= int(text) < 2**64:
        return int(text)
    return to_float(text)


def to_float(text: str) -> int | float:
    """A finite number, whole ones as int (they print so in JSON); else ValueError."""
    if len(text) > _MAX_DIGITS and _INTEGER.fullmatch(text):
        raise ValueError("number too long")
    number = float(text)
    if number - number != 0:
        raise ValueError("number out of range")
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _refuse(text: str) -> NoReturn:
    raise ValueError(text)


# strict=False: models put bare newlines and tabs into strings.
_DECODER = json.JSONDecoder(
    parse_int=to_integer, parse_float=to_float, parse_constant=_refuse, strict=False
)


def is_shallow(value: Any) -> bool:
    """Whether lists and objects nest no deeper than MAX_DEPTH."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        inside = (item for item in level if isinstance(item, list | dict))
        level = [child for item in inside for child in _children(item)]
        if not level:
            return True
    return False


def _children(item: Any) -> Iterable[Any]:
    return cast("dict[str, Any]", item).values() if isinstance(item, dict) else item


def _whole(value: Any) -> Any:
    """The value with lone surrogates replaced: they cannot be encoded."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_whole(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {_whole(key): _whole(item) for key, item in cast("dict[str, Any]", value).items()}
    return value


def load_values(text: str) -> list[Any] | None:
    """The JSON values in `text`, one after another, with white space, commas or semicolons between them.

    None when there is anything else, too many of them, a number too big, or a value nested too deep.
    """
    values: list[Any] = []
    at = _between(text, 0)
    while at < len(text):
        try:
            value, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            return None
        values.append(value)
        if len(values) > _MAX_VALUES:
            return None
        at = _between(text, at)
    if not is_shallow(values):
        return None
    return _whole(values) if "\\ud" in text.lower() else values


def _between(text: str, at: int) -> int:
    found = _SEPARATORS.match(text, at)
    return found.end() if found else at


def load_value(text: str) -> Any:
    """`text` as one JSON value. ValueError when it is not."""
    values = load_values(text)
    if values is None or len(values) != 1:
        raise ValueError("not one JSON value")
    return values[0]


def load_object(text: str) -> dict[str, Any] | None:
    """`text` as one JSON object, white space around it allowed; None when it is anything else."""
    values = load_values(text)
    if values is None or len(values) != 1 or not isinstance(values[0], dict):
        return None
    return cast("dict[str, Any]", values[0])


def objects_in(text: str) -> Iterator[str]:
    """The JSON objects side by side in a text, by their braces, and the texts between them."""
    start = depth = 0
    for found in _STRINGS_OR_BRACES.finditer(text):
        if found[0] == "{" and depth == 0:
            yield text[start : found.start()]
            start = found.start()
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if found[0] == "}" and depth == 0:
            yield text[start : found.end()]
            start = found.end()
        depth = max(depth, 0)
    yield text[start:]


def ends_in_string(text: str) -> bool:
    """Whether JSON `text` breaks off inside a string."""
    return text.replace("\\\\", "").replace('\\"', "").count('"') % 2 == 1


# ---- text typed by a schema


def _types(schema: ToolProperty) -> list[str]:
    if schema.any_of:
        return [name for option in schema.any_of for name in option.type]
    return schema.type


def parameter_types(tools: Sequence[Tool], tool: str, parameter: str) -> list[str]:
    """The declared types of a tool's parameter; empty when tool, parameter or type is not declared."""
    for candidate in tools:
        if candidate.function.name == tool:
            schema = (candidate.function.parameters.properties or {}).get(parameter)
            return _types(schema) if schema else []
    return []


def _to_boolean(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


def _to_int64(text: str) -> int:
    if len(text) > 20 or not _INTEGER.fullmatch(text) or not -(2**63) <= int(text) < 2**63:
        raise ValueError("not an integer of 64 bits")
    return int(text)


def _to_number(text: str) -> int | float:
    if not _NUMBER.fullmatch(text):
        raise ValueError("not a number")
    return to_float(text)


def _to_list(text: str) -> list[Any]:
    value = load_value(text)
    if not isinstance(value, list):
        raise ValueError("not a list")
    return cast("list[Any]", value)


def _to_object(text: str) -> dict[str, Any]:
    value = load_object(text)
    if value is None:
        raise ValueError("not an object")
    return value


# In this order: the narrowest type that reads the text wins.
_READERS = {
    "boolean": _to_boolean,
    "integer": _to_int64,
    "number": _to_number,
    "array": _to_list,
    "object": _to_object,
}


def typed_value(text: str, types: Iterable[str]) -> Any:
    """`text` as the narrowest of the declared `types` that it fits, else as it is; `null` fits all of them."""
    if text.lower() == "null":
        return None
    declared = set(types)
    for name, read in _READERS.items():
        if name in declared:
            try:
                return read(text)
            except (ValueError, KeyError):
                continue
    return text


def trimmed_value(text: str, types: Iterable[str]) -> Any:
    """As `typed_value`, without the line breaks that formats put around a value."""
    return typed_value(text.removeprefix("\n").removesuffix("\n"), types)
