"""Cogito v2.1: DeepSeek's tokens, tools as indented JSON. Thinks only when asked to."""

from mlx_ollama.api.messages import Message, Tool
from mlx_ollama.prompt.conversation import Conversation
from mlx_ollama.prompt.go_json import arguments_json, marshal, marshal_indent, tool_json
from mlx_ollama.prompt.renderers.history import is_on, last_of_results, split_system

_IDENTITY = (
    "You are Cogito, an AI assistant created by Deep Cogito, "
    "which is an AI research lab based in San Francisco."
)
_BOS = "<｜begin▁of▁sentence｜>"
_EOS = "<｜end▁of▁sentence｜>"


class Cogito:
    leading_bos = _BOS

    def render(self, conversation: Conversation) -> str:
        system, messages = split_system(conversation)
        thinks = is_on(conversation.think, default=False)
        head = _system(system or "", thinks) + _tools(conversation.tools)
        turns = [_turn(messages, at) for at in range(len(messages))]
        spoken = [m.role for m in messages if m.role in ("user", "assistant", "tool")]
        opening = "" if spoken and spoken[-1] == "user" else "<｜Assistant｜>"
        return _BOS + head + "".join(turns) + opening + ("<think>\n" if thinks else "")


def _system(system: str, thinks: bool) -> str:
    if not thinks:
        return f"{_IDENTITY}\n\n{system}" if system else _IDENTITY
    head = f"Enable deep thinking subroutine.\n\n{_IDENTITY}"
    return f"{head}\n\n{system}\n\n" if system else head


def _tools(tools: list[Tool]) -> str:
    if not tools:
        return ""
    blocks = [f"```json\n{marshal_indent(tool_json(tool), '    ')}\n```\n" for tool in tools]
    return "\nYou have the following functions available:\n" + "".join(blocks)


def _turn(messages: list[Message], at: int) -> str:
    message = messages[at]
    match message.role:
        case "user":
            return f"<｜User｜>{message.content}<｜Assistant｜>"
        case "assistant":
            return message.content + _calls(message) + _EOS
        case "tool":
            return _result(messages, at)
        case _:
            return ""


def _calls(message: Message) -> str:
    if not message.tool_calls:
        return ""
    calls = [
        f"<｜tool▁call▁begin｜>function<｜tool▁sep｜>{call.function.name}"
        f"\n```json\n{marshal(arguments_json(call))}\n```<｜tool▁call▁end｜>"
        for call in message.tool_calls
    ]
    return f"<｜tool▁calls▁begin｜>{chr(10).join(calls)}<｜tool▁calls▁end｜>"


def _result(messages: list[Message], at: int) -> str:
    """Answers that follow each other share a block."""
    start = "" if at and messages[at - 1].role == "tool" else "<｜tool▁outputs▁begin｜>"
    end = "<｜tool▁outputs▁end｜>" if last_of_results(messages, at) else "\n"
    body = f"<｜tool▁output▁begin｜>{messages[at].content}<｜tool▁output▁end｜>"
    return start + body + end
