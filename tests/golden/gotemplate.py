"""`gotemplate.jsonl`: the language, Ollama's modes on top of it, and what is inferred from a template."""

import base64
from collections.abc import Callable
from typing import Any

import msgspec

from mlx_ollama.api.messages import Message, Tool, ToolProperty
from mlx_ollama.prompt.conversation import Conversation, TemplateError
from mlx_ollama.prompt.go_json import as_request_numbers
from mlx_ollama.prompt.go_template import GoTemplate
from mlx_ollama.prompt.go_template.api_values import (
    PROPERTY_TYPE,
    arguments_value,
    messages_value,
    property_value,
    tools_value,
)
from mlx_ollama.prompt.go_template.evaluator import run
from mlx_ollama.prompt.go_template.expressions import Program
from mlx_ollama.prompt.go_template.parser import parse
from mlx_ollama.prompt.go_template.template import FUNCTION_NAMES, Turns, collate, functions
from mlx_ollama.prompt.go_template.values import (
    BYTES,
    INT,
    INTS,
    STRING,
    STRINGS,
    GoType,
    Kind,
    Value,
    of,
)

_MAP_TYPES = {
    "map[string]string": GoType("map[string]string", Kind.MAP, element=STRING, key=STRING),
    "map[string]int": GoType("map[string]int", Kind.MAP, element=INT, key=STRING),
    "map[int]string": GoType("map[int]string", Kind.MAP, element=STRING, key=INT),
}
_API_MESSAGE = GoType("api.Message", Kind.STRUCT)


def _request_type(schema: Any) -> Any:
    """A property's `type` as a list everywhere, as the API decodes it."""
    if isinstance(schema, list):
        return [_request_type(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    decoded = dict(schema)
    if isinstance(decoded.get("type"), str):
        decoded["type"] = [decoded["type"]]
    if "anyOf" in decoded:
        decoded["anyOf"] = [_request_type(item) for item in decoded["anyOf"] or []]
    if decoded.get("properties"):
        decoded["properties"] = {
            name: _request_type(item) for name, item in decoded["properties"].items()
        }
    return {key: item for key, item in decoded.items() if item is not None}


def tools_of(data: list[Any] | None) -> list[Tool]:
    """Tools as the API decodes them."""
    decoded: list[Any] = []
    for tool in data or []:
        tool = dict(tool)
        function = dict(tool.get("function", {}))
        parameters = dict(function.get("parameters") or {})
        properties = parameters.get("properties")
        if properties is not None:
            parameters["properties"] = {
                name: _request_type(item) for name, item in properties.items()
            }
        for key in [key for key, item in parameters.items() if item is None]:
            del parameters[key]
        function["parameters"] = parameters
        tool["function"] = function
        decoded.append(tool)
    return msgspec.convert(decoded, list[Tool])


def messages_of(data: list[Any] | None) -> list[Message]:
    """Messages as the API decodes them."""
    messages: list[Message] = []
    for item in data or []:
        missing = [
            at
            for at, call in enumerate(item.get("tool_calls") or [])
            if call["function"].get("arguments") is None
        ]
        cleaned = _without_none(item)
        message = msgspec.convert(cleaned, Message, builtin_types=(bytes,), strict=False)
        message.role = message.role.lower()
        for at in missing:
            message.tool_calls[at].function.arguments = None  # type: ignore[assignment]
        messages.append(message)
    return messages


def _without_none(item: dict[str, Any]) -> dict[str, Any]:
    cleaned = {key: value for key, value in item.items() if value is not None}
    if "images" in cleaned:
        cleaned["images"] = [base64.b64decode(image) for image in cleaned["images"]]
    if "tool_calls" in cleaned:
        cleaned["tool_calls"] = [
            {
                **call,
                "function": {k: v for k, v in call["function"].items() if v is not None},
            }
            for call in cleaned["tool_calls"]
        ]
    return cleaned


def _typed(name: str, data: Any) -> Any:
    if name in _MAP_TYPES:
        type_ = _MAP_TYPES[name]
        if data is not None and type_.key is INT:
            data = {int(key): value for key, value in data.items()}
        return Value(type_, data)
    return _TYPED[name](data)


_TYPED: dict[str, Callable[[Any], Any]] = {
    "float64": float,
    "json": as_request_numbers,
    "[]string": lambda data: Value(STRINGS, data),
    "[]int": lambda data: Value(INTS, data),
    "[]byte": lambda data: Value(BYTES, None if data is None else data.encode()),
    "messages": lambda data: messages_value(None if data is None else messages_of(data)),
    "tools": lambda data: tools_value(None if data is None else tools_of(data)),
    "args": arguments_value,
    "api.ToolProperty": lambda data: property_value(
        msgspec.convert(_request_type(data), ToolProperty)
    ),
    "api.PropertyType": lambda data: Value(
        PROPERTY_TYPE, [data] if isinstance(data, str) else data
    ),
    "api.Message": lambda _: Value(_API_MESSAGE, {}),
}


def go_data(data: Any) -> Any:
    """Template data in the notation of the README."""
    if isinstance(data, dict):
        if "$go" in data:
            return _typed(data["$go"], data["v"])
        return {key: go_data(value) for key, value in data.items()}
    if isinstance(data, list):
        return [go_data(value) for value in data]
    return data


def _plain(case: dict[str, Any]) -> str:
    trees = parse(case["template"], FUNCTION_NAMES)
    return run(Program(case["template"], trees, functions()), of(go_data(case["data"])))


def _parsed(case: dict[str, Any]) -> str:
    template = GoTemplate.parse(case["template"])
    return run(template.turn(None), of(go_data(case["data"])))


def _chat(case: dict[str, Any]) -> str:
    values = case["values"]
    template = GoTemplate.parse(case["template"])
    conversation = Conversation(
        messages=messages_of(values.get("messages")),
        tools=tools_of(values.get("tools")),
        prompt=values.get("prompt", ""),
        suffix=values.get("suffix", ""),
    )
    thinking = {
        "Think": values.get("think", False),
        "ThinkLevel": values.get("think_level", ""),
        "IsThinkSet": values.get("is_think_set", False),
    }
    if values.get("force_legacy"):
        return Turns(template, conversation, thinking).render()
    return template.render_thinking(conversation, thinking)


def _message_dict(message: Message) -> dict[str, Any]:
    data = msgspec.to_builtins(message)
    return {key: value for key, value in data.items() if value}


def _collate(case: dict[str, Any]) -> Any:
    system, messages = collate(messages_of(case["messages"]))
    return {"system": system, "messages": [_message_dict(message) for message in messages]}


def _vars(case: dict[str, Any]) -> Any:
    template = GoTemplate.parse(case["template"])
    return {
        "vars": template.variables,
        "capabilities": template.capabilities,
        "think_tags": list(template.thinking_tags),
        "tool_tag": template.tool_tag,
        "contains": {text: text in template.text for text in case["contains"]},
    }


_OPERATIONS = {
    "tmpl": _plain,
    "otmpl": _parsed,
    "chat": _chat,
    "collate": _collate,
    "vars": _vars,
}


def _wanted(case: dict[str, Any]) -> Any:
    want = case.get("want")
    if case["op"] == "collate" and want:
        messages = [_message_dict(message) for message in messages_of(want["messages"])]
        return {"system": want["system"], "messages": messages}
    return want


def evaluate(case: dict[str, Any]) -> str | None:
    """None when the result or the error text is the wanted one."""
    try:
        got: Any = _OPERATIONS[case["op"]](case)
    except TemplateError as error:
        return None if str(error) == case.get("error") else f"error {error!s} <> {_show(case)}"
    if "error" in case or got != _wanted(case):
        return f"got {got!r} <> {_show(case)}"
    return None


def _show(case: dict[str, Any]) -> str:
    return repr(case.get("want", case.get("error")))
