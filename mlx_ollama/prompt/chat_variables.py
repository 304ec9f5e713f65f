"""Messages, tools and thinking as chat templates of Hugging Face name them."""

from typing import Any

from mlx_ollama.api.messages import Message, Think, Tool, ToolCall, ToolProperty


def chat_messages(messages: list[Message], *, in_parts: bool = False) -> list[dict[str, Any]]:
    """`messages`; `in_parts`: each content as a list of parts."""
    return [_chat_message(message, in_parts) for message in messages]


def _chat_message(message: Message, in_parts: bool) -> dict[str, Any]:
    content: Any = message.content
    if in_parts:
        content = [{"type": "text", "text": message.content}]
    entry: dict[str, Any] = {"role": message.role, "content": content}
    if message.thinking:
        entry["thinking"] = entry["reasoning_content"] = message.thinking
    if message.tool_calls:
        entry["tool_calls"] = [_chat_call(call) for call in message.tool_calls]
    if message.tool_name:
        entry["name"] = message.tool_name
    if message.tool_call_id:
        entry["tool_call_id"] = message.tool_call_id
    return entry


def _chat_call(call: ToolCall) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "function"}
    if call.id:
        entry["id"] = call.id
    entry["function"] = {
        "name": call.function.name,
        "arguments": call.function.arguments or {},
    }
    return entry


def chat_tools(tools: list[Tool]) -> list[dict[str, Any]] | None:
    """`tools` in the order of keys that transformers' own schemas have; None: none given."""
    return [_chat_tool(tool) for tool in tools] or None


def _chat_tool(tool: Tool) -> dict[str, Any]:
    function, parameters = tool.function, tool.function.parameters
    schema: dict[str, Any] = {"type": parameters.type or "object"}
    schema["properties"] = _properties(parameters.properties or {})
    optional = {
        "required": parameters.required,
        "items": parameters.items,
        "$defs": parameters.defs,
    }
    schema |= {key: value for key, value in optional.items() if value}
    entry: dict[str, Any] = {"name": function.name}
    if function.description:
        entry["description"] = function.description
    return {"type": tool.type or "function", "function": entry | {"parameters": schema}}


def _properties(properties: dict[str, ToolProperty]) -> dict[str, Any]:
    return {name: _property(schema) for name, schema in properties.items()}


def _property(schema: ToolProperty) -> dict[str, Any]:
    entries: dict[str, Any] = {
        "anyOf": [_property(choice) for choice in schema.any_of],
        "type": schema.type[0] if len(schema.type) == 1 else schema.type,
        "items": schema.items,
        "properties": _properties(schema.properties or {}),
        "required": schema.required,
        "enum": schema.enum,
        "description": schema.description,
    }
    return {key: value for key, value in entries.items() if value}


def think_variables(think: Think, template: str) -> dict[str, Any]:
    """The names that templates know thinking by; a level is also the effort."""
    if think is None:
        return {}
    values: dict[str, Any] = {"enable_thinking": bool(think), "thinking": bool(think)}
    if isinstance(think, str):
        knows_max = "max" in template and "<|channel|>" not in template
        values["reasoning_effort"] = "high" if think == "max" and not knows_max else think
    return values
