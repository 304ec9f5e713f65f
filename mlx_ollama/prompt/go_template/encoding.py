"""A template's value in the terms of `go_json`, as encoding/json would see it."""

from typing import Any

from mlx_ollama.prompt.go_json import Object
from mlx_ollama.prompt.go_template.values import (
    GoType,
    Kind,
    Value,
    element,
    elements,
    sorted_entries,
)


def encodable(value: Value) -> Any:
    """Plain Python for `go_json.marshal`."""
    type_ = value.type
    if type_ is None:
        return None
    if type_.json is not None:
        return type_.json(value.data)
    return None if value.data is None else _by_kind(type_, value)


def _by_kind(type_: GoType, value: Value) -> Any:
    match type_.kind:
        case Kind.INTERFACE | Kind.POINTER:
            return encodable(value.data)
        case Kind.SLICE:
            if type_.element and type_.element.name == "uint8":
                return bytes(value.data)
            return [encodable(item) for item in elements(value)]
        case Kind.MAP:
            return {key.data: encodable(item) for key, item in sorted_entries(value)}
        case Kind.STRUCT:
            return Object(
                (name, encodable(element(member, value.data[name])))
                for name, member in type_.fields.items()
            )
        case _:
            return value.data
