"""Gemma 4's declarations of tools: a schema language of its own, sorted and upper case.

The properties of a tool are typed (`ToolProperty`); what lies under `items` is any JSON, so it is read with care.
"""

from typing import Any

from mlx_ollama.api.messages import Tool, ToolParameters, ToolProperty
from mlx_ollama.prompt.go_json import as_request_numbers
from mlx_ollama.prompt.go_template.formatting import format_value
from mlx_ollama.prompt.renderers.values import whole_number

QUOTE = '<|"|>'
_OWN_KEYS = ("description", "type", "properties", "required", "nullable")


def declaration(tool: Tool) -> str:
    """One tool."""
    function, parameters = tool.function, tool.function.parameters
    text = f"description:{_quoted(function.description)}"
    if parameters.properties is not None or parameters.type:
        text += f",parameters:{{{_parameters(parameters)}}}"
    return f"<|tool>declaration:{function.name}{{{text}}}<tool|>"


def _parameters(parameters: ToolParameters) -> str:
    parts: list[str] = []
    if parameters.properties:
        parts.append(f"properties:{{{_properties(_schemas(parameters.properties))}}}")
    if parameters.required:
        parts.append(f"required:{_names(parameters.required)}")
    if parameters.type:
        parts.append(f"type:{_quoted(parameters.type.upper())}")
    return ",".join(parts)


def _quoted(text: str) -> str:
    return f"{QUOTE}{text}{QUOTE}"


def _names(names: list[str]) -> str:
    return "[" + ",".join(map(_quoted, names)) + "]"


# ---- typed properties as plain schemas


def _schemas(properties: dict[str, ToolProperty]) -> dict[str, Any]:
    return {name: _schema(schema) for name, schema in properties.items()}


def _schema(schema: ToolProperty) -> dict[str, Any]:
    types = schema.type or _union(schema)
    entries = {
        "type": _type_text(types) if types else None,
        "description": schema.description or None,
        "enum": as_request_numbers(schema.enum) or None,
        "items": as_request_numbers(schema.items),
        "properties": None if schema.properties is None else _schemas(schema.properties),
        "required": schema.required or None,
    }
    return {key: value for key, value in entries.items() if value is not None}


def _type_text(types: list[str]) -> str:
    """Several types are one word, the list as Python shows it: what the model was trained on."""
    if len(types) == 1:
        return types[0]
    return "[" + ", ".join(f"'{name.upper()}'" for name in types) + "]"


def _union(schema: ToolProperty) -> list[str]:
    """The types of an anyOf whose choices are bare types; none otherwise."""
    types: list[str] = []
    for choice in schema.any_of:
        if choice != ToolProperty(type=choice.type) or not choice.type:
            return []
        types += [name for name in choice.type if name not in types]
    return types


# ---- plain schemas as text


def _properties(schemas: dict[str, Any]) -> str:
    return ",".join(
        f"{name}:{{{_property(schemas[name])}}}"
        for name in sorted(schemas, key=str.encode)
        if name not in _OWN_KEYS and isinstance(schemas[name], dict)
    )


def _property(schema: dict[str, Any]) -> str:
    types = _type_names(schema.get("type"))
    first = types[0] if types else ""
    parts: list[str] = []
    description = schema.get("description")
    if isinstance(description, str) and description:
        parts.append(f"description:{_quoted(description)}")
    if first == "STRING" and isinstance(schema.get("enum"), list):
        choices = [_quoted(format_value(choice)) for choice in schema["enum"]]
        parts += [f"enum:[{','.join(choices)}]"] if choices else []
    items = schema.get("items")
    if first == "ARRAY" and isinstance(items, dict) and items:
        parts.append(f"items:{{{_items(items)}}}")
    if schema.get("nullable") is True:
        parts.append("nullable:true")
    if first == "OBJECT":
        parts += _object_parts(schema)
    if types:
        parts.append(f"type:{_types(types)}")
    return ",".join(parts)


def _object_parts(schema: dict[str, Any]) -> list[str]:
    nested = schema.get("properties")
    parts = [f"properties:{{{_properties(nested if isinstance(nested, dict) else schema)}}}"]
    required = _strings(schema.get("required"))
    return [*parts, f"required:{_names(required)}"] if required else parts


def _items(items: dict[str, Any]) -> str:
    parts = [
        _item(key, items[key]) for key in sorted(items, key=str.encode) if items[key] is not None
    ]
    return ",".join(parts)


def _item(key: str, value: Any) -> str:
    match key:
        case "properties":
            return f"properties:{{{_properties(value) if isinstance(value, dict) else ''}}}"
        case "required":
            return f"required:{_names(_strings(value))}"
        case "type":
            types = _type_names(value)
            return f"type:{_types(types)}" if types else ""
        case _:
            return f"{key}:{_value(value)}"


def _types(types: list[str]) -> str:
    return _quoted(types[0]) if len(types) == 1 else _names(types)


def _type_names(value: Any) -> list[str]:
    names = [value] if isinstance(value, str) else _strings(value)
    return [name.upper() for name in names]


def _strings(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _value(value: Any) -> str:
    """Any JSON; unlike in arguments, keys are quoted."""
    match value:
        case None:
            return "null"
        case str():
            return _quoted(value)
        case dict():
            keys = sorted(value, key=str.encode)
            return "{" + ",".join(f"{_quoted(key)}:{_value(value[key])}" for key in keys) + "}"
        case list():
            return "[" + ",".join(map(_value, value)) + "]"
        case float():
            return whole_number(value)
        case _:
            return format_value(value)
