"""Laguna (lines in tags) and Poolside v1 (the same without the lines). Think only when asked to."""

from typing import Any

from mlx_ollama.api.messages import Message, Tool, ToolCall
from mlx_ollama.prompt.conversation import Conversation
from mlx_ollama.prompt.go_json import marshal, tool_json
from mlx_ollama.prompt.renderers.history import (
    SPACE,
    ends_in_answer,
    is_on,
    is_prefill,
    split_system,
    trim,
)
from mlx_ollama.prompt.renderers.values import arguments

_BOS = "〈|EOS|〉"
_IDENTITY = (
    "You are a helpful, conversationally-fluent assistant made by Poolside. "
    "You are here to be helpful to users through natural language conversations."
)
_CALL_FORMAT = (
    "For each function call, return an unescaped XML-like object with function name and arguments within "
    "'<tool_call>' and '</tool_call>' tags, like here:\n"
)
_THINKING_CALL_FORMAT = (
    "Wrap your thinking in '<think>', '</think>' tags, followed by a function call. "
    + _CALL_FORMAT
    + "<think> your thoughts here </think>\n"
)
_CALL_EXAMPLE = (
    "<tool_call>function-name\n<arg_key>argument-key</arg_key>\n"
    "<arg_value>value-of-argument-key</arg_value>\n</tool_call>"
)


def _tool_list(tools: list[Tool]) -> str:
    lines = "".join(f"{marshal(tool_json(tool), spaced=True)}\n" for tool in tools)
    return (
        "### Tools\n\nYou may call functions to assist with the user query.\n"
        "All available function signatures are listed below:\n"
        f"<available_tools>\n{lines}</available_tools>"
    )


def _argument(value: Any) -> str:
    return value if isinstance(value, str) else marshal(value, spaced=True)


class Laguna:
    leading_bos = _BOS

    def render(self, conversation: Conversation) -> str:
        system, messages = split_system(conversation)
        thinks = is_on(conversation.think, default=False)
        head = _system(_IDENTITY if system is None else system, conversation.tools, thinks)
        turns = [_turn(messages, at) for at in range(len(messages))]
        opening = "<assistant>\n" + ("<think>" if thinks else "</think>")
        if ends_in_answer(conversation.messages):
            opening = ""
        return _BOS + head + "".join(turns) + opening


def _system(system: str, tools: list[Tool], thinks: bool) -> str:
    text = f"\n{system.rstrip(SPACE)}" if trim(system) else ""
    if tools:
        form = _THINKING_CALL_FORMAT if thinks else _CALL_FORMAT
        text += f"\n\n{_tool_list(tools)}\n\n{form}{_CALL_EXAMPLE}"
    return f"<system>\n{text}\n</system>\n" if text else ""


def _turn(messages: list[Message], at: int) -> str:
    message = messages[at]
    match message.role:
        case "user" | "system":
            return f"<{message.role}>\n{message.content}\n</{message.role}>\n"
        case "assistant":
            return _answer(message, is_prefill(messages, at))
        case "tool":
            return f"<tool_response>\n{message.content}\n</tool_response>\n"
        case _:
            return ""


def _answer(message: Message, is_last: bool) -> str:
    content, thinking = map(trim, _parts(message))
    text = f"<think>\n{thinking}\n</think>\n" if thinking else "</think>\n"
    text += f"{content}\n" if content else ""
    text += "".join(map(_call, message.tool_calls))
    is_open = is_last and (content or thinking or message.tool_calls)
    return f"<assistant>\n{text}" + ("" if is_open else "</assistant>\n")


def _parts(message: Message) -> tuple[str, str]:
    """Content and thinking, also where the content has them both in one."""
    if "</think>" not in message.content:
        return message.content, message.thinking
    before, *_, after = message.content.split("</think>")
    thinking = message.thinking or before.rstrip("\n").rpartition("<think>")[2].lstrip("\n")
    return after.lstrip("\n"), thinking


def _call(call: ToolCall) -> str:
    entries = "".join(
        f"<arg_key>{name}</arg_key>\n<arg_value>{_argument(value)}</arg_value>\n"
        for name, value in arguments(call)
    )
    return f"<tool_call>{call.function.name}\n{entries}</tool_call>\n"


class PoolsideV1:
    leading_bos = _BOS

    def render(self, conversation: Conversation) -> str:
        system, messages = split_system(conversation)
        thinks = is_on(conversation.think, default=False)
        head = _system_v1(_IDENTITY if system is None else system, conversation.tools, thinks)
        turns = [_turn_v1(message, thinks) for message in messages]
        opening = "<assistant>" + ("<think>" if thinks else "</think>")
        return _BOS + head + "".join(turns) + opening


def _system_v1(system: str, tools: list[Tool], thinks: bool) -> str:
    parts = [system.rstrip(SPACE) if trim(system) else "", _tool_list(tools) if tools else ""]
    if not any(parts) and not thinks:
        return ""
    text = "\n\n".join(filter(None, parts))
    return f"<system>{text}</system>\n"


def _turn_v1(message: Message, thinks: bool) -> str:
    match message.role:
        case "user" | "system":
            return f"<{message.role}>{message.content}</{message.role}>\n"
        case "assistant":
            thinking = f"<think>{message.thinking}" if thinks else ""
            calls = "".join(map(_call_v1, message.tool_calls))
            return f"<assistant>{thinking}</think>{message.content}{calls}</assistant>\n"
        case "tool":
            return f"<tool_response>{message.content}</tool_response>\n"
        case _:
            return ""


def _call_v1(call: ToolCall) -> str:
    entries = "".join(
        f"<arg_key>{name}</arg_key><arg_value>{_argument(value)}</arg_value>"
        for name, value in arguments(call)
    )
    return f"<tool_call>{call.function.name}{entries}</tool_call>"
