"""Qwen3-Coder: ChatML, tools as XML. Thinking is not part of the format."""

from typing import Any

from mlx_ollama.api.messages import Message, Tool, ToolCall
from mlx_ollama.prompt.conversation import Conversation
from mlx_ollama.prompt.go_json import as_map, marshal, parameters_json, property_json
from mlx_ollama.prompt.go_template.formatting import format_value
from mlx_ollama.prompt.renderers.history import (
    first_of_results,
    is_prefill,
    last_of_results,
)
from mlx_ollama.prompt.renderers.values import arguments, plain_text

CALL_INSTRUCTIONS = """

If you choose to call a function ONLY reply in the following format with NO suffix:

<tool_call>
<function=example_function_name>
<parameter=example_parameter_1>
value_1
</parameter>
<parameter=example_parameter_2>
This is the value for the second parameter
that can span
multiple lines
</parameter>
</function>
</tool_call>

<IMPORTANT>
Reminder:
- Function calls MUST follow the specified format: an inner <function=...></function> block must be nested within <tool_call></tool_call> XML tags
- Required parameters MUST be specified
- You may provide optional reasoning for your function call in natural language BEFORE the function call, but NOT after
- If there is no function call available, answer the question like normal with your current knowledge and do not tell the user about function calls
</IMPORTANT>"""
_DEFAULT_SYSTEM = (
    "You are Qwen, a helpful AI assistant that can interact with a computer to solve tasks."
)


class Qwen3Coder:
    leading_bos = ""

    def render(self, conversation: Conversation) -> str:
        messages = [message for message in conversation.messages if message.role != "system"]
        turns = [_turn(messages, at) for at in range(len(messages))]
        opened = messages and not is_prefill(messages, len(messages) - 1)
        opening = "<|im_start|>assistant\n" if opened else ""
        return _system(conversation) + "".join(turns) + opening


def _system(conversation: Conversation) -> str:
    """The first system text that is not empty, and the tools."""
    texts = [message.content for message in conversation.messages if message.role == "system"]
    system = next(filter(None, texts), "")
    if not system and not conversation.tools:
        return ""
    tools = _tools(conversation.tools) if conversation.tools else ""
    return f"<|im_start|>system\n{system or _DEFAULT_SYSTEM}{tools}<|im_end|>\n"


def _tools(tools: list[Tool]) -> str:
    functions = "".join(map(_function, tools))
    return (
        "\n\n# Tools\n\nYou have access to the following functions:\n\n"
        f"<tools>{functions}\n</tools>{CALL_INSTRUCTIONS}"
    )


def _function(tool: Tool) -> str:
    function = tool.function
    description = _element("description", function.description) if function.description else ""
    parameters = "".join(
        _parameter(name, as_map(property_json(schema)))
        for name, schema in (function.parameters.properties or {}).items()
    )
    others = _others(as_map(parameters_json(function.parameters)), ("type", "properties"))
    return (
        f"\n<function>\n<name>{function.name}</name>{description}"
        f"\n<parameters>{parameters}{others}\n</parameters>\n</function>"
    )


def _parameter(name: str, schema: dict[str, Any]) -> str:
    kind = schema.get("type")
    shown = "" if not kind else _element("type", kind if isinstance(kind, str) else marshal(kind))
    if schema.get("description"):
        shown += _element("description", schema["description"])
    others = _others(schema, ("type", "description"))
    return f"\n<parameter>\n<name>{name}</name>{shown}{others}\n</parameter>"


def _others(schema: dict[str, Any], known: tuple[str, ...]) -> str:
    """What else a schema says, one element a key."""
    return "".join(
        _element(key, marshal(value) if isinstance(value, (dict, list)) else format_value(value))
        for key, value in schema.items()
        if key not in known and value is not None
    )


def _element(name: str, text: str) -> str:
    return f"\n<{name}>{text}</{name}>"


def _turn(messages: list[Message], at: int) -> str:
    message = messages[at]
    if message.role == "tool":
        return tool_result(messages, at, message.content)
    if message.role == "assistant" and message.tool_calls:
        content = f"{message.content}\n" if message.content else ""
        calls = "".join(f"\n{call_block(call)}" for call in message.tool_calls)
        return f"<|im_start|>assistant\n{content}{calls}<|im_end|>\n"
    end = "" if is_prefill(messages, at) else "<|im_end|>\n"
    return f"<|im_start|>{message.role}\n{message.content}{end}"


def tool_result(messages: list[Message], at: int, content: str) -> str:
    """A tool's answer; those that follow each other share a turn of the user."""
    start = "<|im_start|>user" if first_of_results(messages, at) else ""
    end = "<|im_end|>\n" if last_of_results(messages, at) else ""
    return f"{start}\n<tool_response>\n{content}\n</tool_response>{end}"


def call_block(call: ToolCall) -> str:
    """A call, each parameter on lines of its own."""
    parameters = "".join(
        f"\n<parameter={name}>\n{plain_text(value)}\n</parameter>"
        for name, value in arguments(call)
    )
    return f"<tool_call>\n<function={call.function.name}>{parameters}\n</function>\n</tool_call>"
