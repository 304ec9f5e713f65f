"""JSON as Go's encoding/json prints it: prompts contain it to the character.

Terms: a plain dict is a Go map (keys come out sorted), `Object` a struct or an ordered map (keys stay),
`bytes` are base64. Numbers of a request are float64 in Go: see `as_request_numbers`.
"""

import base64
import math
from collections.abc import Sequence
from json.encoder import encode_basestring
from typing import Any

from mlx_ollama.api.messages import Tool, ToolCall, ToolFunction, ToolParameters, ToolProperty
from mlx_ollama.prompt.go_strconv import format_float, well_formed

_HTML = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"}
_LINES = {0x2028: "\\u2028", 0x2029: "\\u2029"}


class Object(dict[str, Any]):
    """Keys keep their order."""


class Marshaler(Object):
    """An ordered map of the API: it encodes itself, so HTML is escaped in it whatever the encoder around it does."""


def marshal(value: Any, *, escape_html: bool = True, spaced: bool = False) -> str:
    """`json.Marshal`; with `escape_html` False as an Encoder with SetEscapeHTML(false), without its newline.

    `spaced`: a blank after each comma and colon, as Python prints it. Raises ValueError for NaN and infinities.
    """
    pieces: list[str] = []
    _encode(value, pieces, escape_html, (", ", ": ") if spaced else (",", ":"))
    return "".join(pieces)


def marshal_indent(value: Any, indent: str, prefix: str = "") -> str:
    """`json.MarshalIndent`."""
    pieces: list[str] = []
    _indented(value, pieces, indent, "\n" + prefix)
    return "".join(pieces)


def string(text: str, *, escape_html: bool = True) -> str:
    """A JSON string."""
    quoted = encode_basestring(well_formed(text))
    if not quoted.isascii():
        quoted = quoted.translate(_LINES)
    return quoted.translate(_HTML) if escape_html else quoted


def number(value: float) -> str:
    """A JSON number of a float64."""
    if not math.isfinite(value):
        raise ValueError(f"unsupported value: {format_float(value)}")
    if value == 0 or 1e-6 <= abs(value) < 1e21:
        return format_float(value, "f")
    return _one_digit_exponent(format_float(value, "e"))


def as_request_numbers(value: Any) -> Any:
    """The value with every int as the float that Go decodes it to."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        try:
            return float(value)
        except OverflowError:
            return value  # beyond any float; Go refuses such a request
    if isinstance(value, dict):
        return type(value)((key, as_request_numbers(item)) for key, item in value.items())
    if isinstance(value, list):
        return [as_request_numbers(item) for item in value]
    return value


def as_map(value: Any) -> Any:
    """The value as it is after a way through `map[string]any`: no object keeps its order."""
    if isinstance(value, dict):
        return {key: as_map(item) for key, item in value.items()}
    return [as_map(item) for item in value] if isinstance(value, list) else value


def _one_digit_exponent(text: str) -> str:
    """e-09 becomes e-9, as encoding/json cleans it up."""
    return text[:-2] + text[-1] if text[-4:-1] == "e-0" else text


def _scalar(value: Any, escape_html: bool) -> str | None:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return string(value, escape_html=escape_html)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return number(value)
    if isinstance(value, bytes):
        return f'"{base64.b64encode(value).decode()}"'
    return None


def _entries(value: dict[Any, Any]) -> list[tuple[str, Any]]:
    entries = [(key if isinstance(key, str) else str(key), item) for key, item in value.items()]
    if not isinstance(value, Object):
        entries.sort(key=lambda entry: entry[0].encode("utf-8", "surrogateescape"))
    return entries


def _encode(value: Any, pieces: list[str], escape_html: bool, separators: tuple[str, str]) -> None:
    scalar = _scalar(value, escape_html)
    if scalar is not None:
        pieces.append(scalar)
    elif isinstance(value, dict):
        escape_html = escape_html or isinstance(value, Marshaler)
        separator = "{"
        for key, item in _entries(value):
            pieces.append(f"{separator}{string(key, escape_html=escape_html)}{separators[1]}")
            _encode(item, pieces, escape_html, separators)
            separator = separators[0]
        pieces.append("{}" if separator == "{" else "}")
    elif not isinstance(value, Sequence):
        raise ValueError(f"unsupported type: {type(value).__name__}")
    else:
        separator = "["
        for item in value:
            pieces.append(separator)
            _encode(item, pieces, escape_html, separators)
            separator = separators[0]
        pieces.append("[]" if separator == "[" else "]")


def _indented(value: Any, pieces: list[str], indent: str, line: str) -> None:
    scalar = _scalar(value, True)
    if scalar is not None:
        pieces.append(scalar)
    elif not value:
        pieces.append("{}" if isinstance(value, dict) else "[]")
    elif isinstance(value, dict):
        for index, (key, item) in enumerate(_entries(value)):
            pieces.append(("," if index else "{") + line + indent + string(key) + ": ")
            _indented(item, pieces, indent, line + indent)
        pieces.append(line + "}")
    else:
        for index, item in enumerate(value):
            pieces.append(("," if index else "[") + line + indent)
            _indented(item, pieces, indent, line + indent)
        pieces.append(line + "]")


# ---- what the API's structs encode to


def _present(entries: dict[str, Any]) -> Object:
    """Without what `omitempty` leaves out."""
    return Object((key, item) for key, item in entries.items() if item)


def type_json(types: list[str]) -> Any:
    """A property's type: alone a string, else a list."""
    return types[0] if len(types) == 1 else list(types)


def property_json(schema: ToolProperty) -> Object:
    """One property of a tool; `items` and the values of `enum` are any JSON."""
    entries = _present(
        {
            "anyOf": [property_json(choice) for choice in schema.any_of],
            "type": type_json(schema.type) if schema.type else None,
        }
    )
    if schema.items is not None:
        entries["items"] = as_request_numbers(schema.items)
    entries |= _present(
        {
            "description": schema.description,
            "enum": as_request_numbers(schema.enum),
        }
    )
    if schema.properties is not None:
        entries["properties"] = properties_json(schema.properties)
    if schema.required:
        entries["required"] = schema.required
    return Object(entries)


def properties_json(properties: dict[str, ToolProperty] | None) -> Marshaler | None:
    """Properties in the request's order."""
    if properties is None:
        return None
    return Marshaler((name, property_json(schema)) for name, schema in properties.items())


def parameters_json(parameters: ToolParameters) -> Object:
    """A function's parameters; `type` and `properties` are always there."""
    entries = Object(type=parameters.type)
    if parameters.defs is not None:
        entries["$defs"] = as_request_numbers(parameters.defs)
    if parameters.items is not None:
        entries["items"] = as_request_numbers(parameters.items)
    if parameters.required:
        entries["required"] = parameters.required
    entries["properties"] = properties_json(parameters.properties)
    return entries


def function_json(function: ToolFunction) -> Object:
    """A tool's function; an empty description is left out."""
    entries = Object(name=function.name)
    if function.description:
        entries["description"] = function.description
    entries["parameters"] = parameters_json(function.parameters)
    return entries


def tool_json(tool: Tool) -> Object:
    """A whole tool."""
    entries = Object(type=tool.type)
    if tool.items is not None:
        entries["items"] = as_request_numbers(tool.items)
    entries["function"] = function_json(tool.function)
    return entries


def arguments_json(call: ToolCall) -> Marshaler:
    """A call's arguments in the order they came."""
    arguments = call.function.arguments or {}
    return Marshaler((key, as_request_numbers(item)) for key, item in arguments.items())
