"""DeepSeek V3.1. Thinks only when asked to; each answer says whether thinking came before it."""

from mlx_ollama.api.messages import Message, Tool
from mlx_ollama.prompt.conversation import Conversation
from mlx_ollama.prompt.go_json import arguments_json, marshal, parameters_json
from mlx_ollama.prompt.renderers.history import is_on, last_index

_BOS = "<｜begin▁of▁sentence｜>"
_EOS = "<｜end▁of▁sentence｜>"
_TOOL_INSTRUCTIONS = """
IMPORTANT: ALWAYS adhere to this exact format for tool use:
<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>tool_call_name<｜tool▁sep｜>tool_call_arguments<｜tool▁call▁end｜>{{additional_tool_calls}}<｜tool▁calls▁end｜>

Where:

- `tool_call_name` must be an exact match to one of the available tools
- `tool_call_arguments` must be valid JSON that strictly follows the tool's Parameters Schema
- For multiple tool calls, chain them directly without separators or spaces
"""


class DeepSeek31:
    leading_bos = _BOS

    def render(self, conversation: Conversation) -> str:
        messages = conversation.messages
        system = "\n\n".join(m.content for m in messages if m.role == "system")
        thinks = is_on(conversation.think, default=False)
        walk = _Walk(thinks, last_index(messages, "user"))
        turns = [walk.turn(at, message) for at, message in enumerate(messages)]
        return _BOS + system + _tools(conversation.tools) + "".join(turns) + walk.opening()


def _tools(tools: list[Tool]) -> str:
    if not tools:
        return ""
    shown = [
        f"\n### {tool.function.name}\nDescription: {tool.function.description}"
        f"\n\nParameters: {marshal(parameters_json(tool.function.parameters))}\n"
        for tool in tools
    ]
    head = "\n\n## Tools\nYou have access to the following tools:\n"
    return head + "".join(shown) + _TOOL_INSTRUCTIONS


class _Walk:
    """`after_user`: the turn at hand answers the user; `after_tool`: it answers a tool."""

    def __init__(self, thinks: bool, last_user: int) -> None:
        self._thinks = thinks
        self._last_user = last_user
        self._after_user = self._after_tool = False

    def turn(self, at: int, message: Message) -> str:
        match message.role:
            case "user":
                self._after_user, self._after_tool = True, False
                return f"<｜User｜>{message.content}"
            case "assistant":
                return self._answer(at, message)
            case "tool":
                self._after_user, self._after_tool = False, True
                return f"<｜tool▁output▁begin｜>{message.content}<｜tool▁output▁end｜>"
            case _:
                return ""

    def _answer(self, at: int, message: Message) -> str:
        shows = bool(message.thinking) and self._thinks and at > self._last_user
        mark = "<think>" if shows and not message.tool_calls else "</think>"
        opening = f"<｜Assistant｜>{mark}" if self._after_user else ""
        content = message.content
        if not message.tool_calls and not self._after_tool and "</think>" in content:
            content = content.partition("</think>")[2]
        self._after_user = self._after_tool = False
        return opening + content + _calls(message) + _EOS

    def opening(self) -> str:
        if not self._after_user:
            return ""
        return "<｜Assistant｜>" + ("<think>" if self._thinks else "</think>")


def _calls(message: Message) -> str:
    if not message.tool_calls:
        return ""
    calls = [
        f"<｜tool▁call▁begin｜>{call.function.name}<｜tool▁sep｜>"
        f"{marshal(arguments_json(call))}<｜tool▁call▁end｜>"
        for call in message.tool_calls
    ]
    return f"<｜tool▁calls▁begin｜>{''.join(calls)}<｜tool▁calls▁end｜>"
