"""GLM-4.7: thinks unless told not to, and keeps the thinking of earlier turns."""

from mlx_ollama.api.messages import Message, Tool, ToolCall
from mlx_ollama.prompt.conversation import Conversation
from mlx_ollama.prompt.go_json import marshal, tool_json
from mlx_ollama.prompt.renderers.history import first_of_results, is_on
from mlx_ollama.prompt.renderers.values import arguments

_HEAD = """<|system|>
# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
"""
_TAIL = """</tools>

For each function call, output the function name and arguments within the following XML format:
<tool_call>{function-name}<arg_key>{arg-key-1}</arg_key><arg_value>{arg-value-1}</arg_value><arg_key>{arg-key-2}</arg_key><arg_value>{arg-value-2}</arg_value>...</tool_call>"""


class GLM47:
    leading_bos = ""

    def render(self, conversation: Conversation) -> str:
        messages = conversation.messages
        turns = [_turn(messages, at) for at in range(len(messages))]
        opening = "<think>" if is_on(conversation.think, default=True) else "</think>"
        return (
            "[gMASK]<sop>"
            + tool_list(conversation.tools)
            + "".join(turns)
            + f"<|assistant|>{opening}"
        )


def tool_list(tools: list[Tool]) -> str:
    """The system turn with the tools, nothing where there are none."""
    if not tools:
        return ""
    lines = [f"{marshal(tool_json(tool), spaced=True)}\n" for tool in tools]
    return _HEAD + "".join(lines) + _TAIL


def _turn(messages: list[Message], at: int) -> str:
    message = messages[at]
    match message.role:
        case "user" | "system":
            return f"<|{message.role}|>{message.content}"
        case "assistant":
            thinking = f"<think>{message.thinking}</think>" if message.thinking else "</think>"
            calls = "".join(map(call_text, message.tool_calls))
            return f"<|assistant|>{thinking}{message.content}{calls}"
        case "tool":
            start = "<|observation|>" if first_of_results(messages, at) else ""
            return f"{start}<tool_response>{message.content}</tool_response>"
        case _:
            return ""


def call_text(call: ToolCall) -> str:
    """A call: name, then keys and values; strings are bare, the rest JSON."""
    entries = "".join(
        f"<arg_key>{name}</arg_key>"
        f"<arg_value>{value if isinstance(value, str) else marshal(value)}</arg_value>"
        for name, value in arguments(call)
    )
    return f"<tool_call>{call.function.name}{entries}</tool_call>"
