"""Messages and tools as templates see them: the structs, with the names, that Ollama hands to text/template."""

from typing import Any

from mlx_ollama.api.messages import Message, Tool, ToolCall, ToolProperty
from mlx_ollama.prompt.go_json import Object, as_request_numbers, marshal, type_json
from mlx_ollama.prompt.go_template.encoding import encodable
from mlx_ollama.prompt.go_template.values import (
    ANY,
    ANYS,
    INT,
    STRING,
    STRINGS,
    UINT8,
    GoType,
    Kind,
    Value,
    element,
)


def _json_text(type_: GoType, data: Any) -> str:
    return marshal(encodable(Value(type_, data)))


def _with_string_method(type_: GoType, nil: str | None = None) -> GoType:
    """The type with a String method that gives its JSON (or `nil` where it holds nothing)."""

    def show(data: Any) -> str:
        return nil if nil is not None and data is None else _json_text(type_, data)

    type_.show = show
    type_.methods["String"] = lambda data: Value(STRING, show(data))
    return type_


def _show_types(types: list[str] | None) -> str:
    if not types:
        return ""
    return types[0] if len(types) == 1 else "[" + " ".join(types) + "]"


PROPERTY_TYPE = GoType("api.PropertyType", Kind.SLICE, element=STRING)
PROPERTY_TYPE.show = _show_types
PROPERTY_TYPE.json = lambda types: None if types is None else type_json(types)
PROPERTY_TYPE.methods["String"] = lambda types: Value(STRING, _show_types(types))

# Ordered, so it is a struct with hidden fields in Go; only whether it is there and its JSON are seen.
PROPERTIES_MAP = GoType("api.ToolPropertiesMap", Kind.STRUCT)
PROPERTIES_MAP.json = lambda data: Object(
    (name, encodable(Value(TOOL_PROPERTY, member))) for name, member in data.items()
)
PROPERTIES_MAP.methods["Len"] = lambda data: Value(INT, len(data))
PROPERTIES_POINTER = GoType("*api.ToolPropertiesMap", Kind.POINTER, element=PROPERTIES_MAP)

TOOL_PROPERTY = GoType("api.ToolProperty", Kind.STRUCT)
TOOL_PROPERTY.fields = {
    "AnyOf": GoType("[]api.ToolProperty", Kind.SLICE, element=TOOL_PROPERTY),
    "Type": PROPERTY_TYPE,
    "Items": ANY,
    "Description": STRING,
    "Enum": ANYS,
    "Properties": PROPERTIES_POINTER,
    "Required": STRINGS,
}
_PROPERTY_KEYS = ("anyOf", "type", "items", "description", "enum", "properties", "required")
TOOL_PROPERTY.json = lambda data: _struct_json(TOOL_PROPERTY, data, _PROPERTY_KEYS, _PROPERTY_KEYS)
TOOL_PROPERTY.methods["ToTypeScriptType"] = lambda data: Value(STRING, typescript_type(data))

PROPERTIES = _with_string_method(
    GoType("template.templateProperties", Kind.MAP, element=TOOL_PROPERTY, key=STRING), "{}"
)
ARGUMENTS = _with_string_method(
    GoType("template.templateArgs", Kind.MAP, element=ANY, key=STRING), "{}"
)
PARAMETERS = GoType(
    "template.templateToolFunctionParameters",
    Kind.STRUCT,
    fields={
        "Type": STRING,
        "Defs": ANY,
        "Items": ANY,
        "Required": STRINGS,
        "Properties": PROPERTIES,
    },
)
PARAMETERS.json = lambda data: _struct_json(
    PARAMETERS,
    data,
    ("type", "$defs", "items", "required", "properties"),
    ("$defs", "items", "required"),
)
FUNCTION = GoType(
    "template.templateToolFunction",
    Kind.STRUCT,
    fields={"Name": STRING, "Description": STRING, "Parameters": PARAMETERS},
)
FUNCTION.json = lambda data: _struct_json(FUNCTION, data, ("name", "description", "parameters"), ())
TOOL = GoType(
    "template.templateTool",
    Kind.STRUCT,
    fields={"Type": STRING, "Items": ANY, "Function": FUNCTION},
)
TOOL.json = lambda data: _struct_json(TOOL, data, ("type", "items", "function"), ("items",))
_with_string_method(TOOL)
TOOLS = _with_string_method(GoType("template.templateTools", Kind.SLICE, element=TOOL))

CALL_FUNCTION = GoType(
    "template.templateToolCallFunction",
    Kind.STRUCT,
    fields={"Index": INT, "Name": STRING, "Arguments": ARGUMENTS},
)
CALL = GoType(
    "template.templateToolCall",
    Kind.STRUCT,
    fields={"ID": STRING, "Function": CALL_FUNCTION},
)
IMAGE = GoType("api.ImageData", Kind.SLICE, element=UINT8)
MESSAGE = GoType(
    "template.templateMessage",
    Kind.STRUCT,
    fields={
        "Role": STRING,
        "Content": STRING,
        "Thinking": STRING,
        "Images": GoType("[]api.ImageData", Kind.SLICE, element=IMAGE),
        "ToolCalls": GoType("[]template.templateToolCall", Kind.SLICE, element=CALL),
        "ToolName": STRING,
        "ToolCallID": STRING,
    },
)
MESSAGE_POINTER = GoType("*template.templateMessage", Kind.POINTER, element=MESSAGE)
MESSAGES = GoType("[]*template.templateMessage", Kind.SLICE, element=MESSAGE_POINTER)


def _struct_json(
    type_: GoType, data: dict[str, Any], keys: tuple[str, ...], omitted: tuple[str, ...]
) -> Object:
    """A struct under its wire names; `omitted` ones only where they are not empty."""
    entries = Object()
    for key, (name, member) in zip(keys, type_.fields.items(), strict=True):
        value = data[name]
        is_empty = value is None if member.kind in (Kind.INTERFACE, Kind.POINTER) else not value
        if key not in omitted or not is_empty:
            entries[key] = encodable(element(member, value))
    return entries


# ---- from the API


def messages_value(messages: list[Message] | None) -> Value:
    """`.Messages`."""
    if messages is None:
        return Value(MESSAGES, None)
    return Value(MESSAGES, [Value(MESSAGE, _message(message)) for message in messages])


def tools_value(tools: list[Tool] | None) -> Value:
    """`.Tools`; none given prints null."""
    return Value(TOOLS, None if tools is None else [_tool(tool) for tool in tools])


def arguments_value(arguments: dict[str, Any] | None) -> Value:
    """`.Arguments` of a call."""
    return Value(ARGUMENTS, as_request_numbers(arguments))


def property_value(schema: ToolProperty) -> Value:
    """One property of a tool."""
    return Value(TOOL_PROPERTY, _property(schema))


def _message(message: Message) -> dict[str, Any]:
    return {
        "Role": message.role,
        "Content": message.content,
        "Thinking": message.thinking,
        "Images": message.images or None,
        "ToolCalls": [_call(call) for call in message.tool_calls] or None,
        "ToolName": message.tool_name,
        "ToolCallID": message.tool_call_id,
    }


def _call(call: ToolCall) -> dict[str, Any]:
    function = call.function
    return {
        "ID": call.id,
        "Function": {
            "Index": function.index,
            "Name": function.name,
            "Arguments": as_request_numbers(function.arguments),
        },
    }


def _tool(tool: Tool) -> dict[str, Any]:
    parameters = tool.function.parameters
    properties = parameters.properties
    return {
        "Type": tool.type,
        "Items": as_request_numbers(tool.items),
        "Function": {
            "Name": tool.function.name,
            "Description": tool.function.description,
            "Parameters": {
                "Type": parameters.type,
                "Defs": as_request_numbers(parameters.defs),
                "Items": as_request_numbers(parameters.items),
                "Required": parameters.required or None,
                "Properties": None if properties is None else _properties(properties),
            },
        },
    }


def _properties(properties: dict[str, ToolProperty]) -> dict[str, Any]:
    return {name: _property(schema) for name, schema in properties.items()}


def _property(schema: ToolProperty) -> dict[str, Any]:
    properties = schema.properties
    return {
        "AnyOf": [_property(choice) for choice in schema.any_of] or None,
        "Type": schema.type or None,
        "Items": as_request_numbers(schema.items),
        "Description": schema.description,
        "Enum": as_request_numbers(schema.enum) or None,
        "Properties": None
        if properties is None
        else Value(PROPERTIES_MAP, _properties(properties)),
        "Required": schema.required or None,
    }


# ---- TypeScript

_TYPESCRIPT = {
    "string": "string",
    "number": "number",
    "integer": "number",
    "boolean": "boolean",
    "array": "any[]",
    "object": "Record<string, any>",
    "null": "null",
}


def typescript_type(data: dict[str, Any]) -> str:
    """The TypeScript type of a property."""
    if data["AnyOf"]:
        return " | ".join(map(typescript_type, data["AnyOf"]))
    return " | ".join(_TYPESCRIPT.get(name, "any") for name in data["Type"] or ("",))
