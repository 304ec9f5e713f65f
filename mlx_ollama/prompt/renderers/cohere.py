"""Cohere's Command A of 2026: a system turn that always lists tools, numbered calls, results as JSON."""

from mlx_ollama.api.messages import Message, Tool, ToolCall
from mlx_ollama.prompt.conversation import Conversation
from mlx_ollama.prompt.go_json import Object, arguments_json, marshal, parameters_json, string
from mlx_ollama.prompt.renderers.history import is_on

_TURN, _TURN_END = "<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>"
_TEXT, _TEXT_END = "<|START_TEXT|>", "<|END_TEXT|>"
_THINKING, _THINKING_END = "<|START_THINKING|>", "<|END_THINKING|>"
_BEFORE_CALLS = "\n            \n                "  # blanks of the template around its blocks
_SPEAKERS = {"system": "SYSTEM", "user": "USER"}


class Cohere:
    leading_bos = "<BOS_TOKEN>"

    def render(self, conversation: Conversation) -> str:
        messages, system = conversation.messages, ""
        if messages and messages[0].role.lower() == "system":
            system, messages = messages[0].content, messages[1:]
        walk = _Walk(messages)
        text = _system(system, conversation.tools) + walk.turns()
        if walk.is_open:
            return text
        thinks = is_on(conversation.think, default=True)
        opening = _THINKING if thinks else _THINKING + _THINKING_END
        return f"{text}{_TURN}<|CHATBOT_TOKEN|>{opening}"


def _text_turn(speaker: str, text: str) -> str:
    return f"{_TURN}<|{speaker}_TOKEN|>{_TEXT}{text}{_TEXT_END}{_TURN_END}"


def _system(system: str, tools: list[Tool]) -> str:
    entries = ",\n\n".join(f"\n    {_tool(tool)}" for tool in tools)
    listed = f"{entries}\n\n" if tools else "\n\n"
    head = f"{system}\n\n\n\n" if system else ""
    return _text_turn("SYSTEM", f"{head}# Available Tools\n```json\n[\n{listed}\n]\n```")


def _tool(tool: Tool) -> str:
    function = tool.function
    entry = Object(
        name=function.name,
        description=function.description,
        parameters=parameters_json(function.parameters),
        responses=None,
    )
    return marshal(entry, spaced=True)


class _Walk:
    """`numbers`: the calls so far by id; results name the number of their call. `is_open`: an answer goes on."""

    def __init__(self, messages: list[Message]) -> None:
        self._messages = messages
        self._numbers: dict[str, str] = {}
        self._count = 0
        self.is_open = False

    def turns(self) -> str:
        return "".join(self._turn(at, message) for at, message in enumerate(self._messages))

    def _turn(self, at: int, message: Message) -> str:
        role = message.role.lower()
        if role in _SPEAKERS:
            return _text_turn(_SPEAKERS[role], message.content)
        if role in ("assistant", "chatbot"):
            return f"{_TURN}<|CHATBOT_TOKEN|>{self._answer(at, message)}"
        return self._result(at, message) if role == "tool" else ""

    def _answer(self, at: int, message: Message) -> str:
        thinking = f"{_THINKING}{message.thinking}{_THINKING_END}" if message.thinking else ""
        if message.tool_calls:
            calls = ",".join(map(self._call, message.tool_calls))
            return (
                f"{_BEFORE_CALLS}{thinking}<|START_ACTION|>[{calls}\n\n]<|END_ACTION|>{_TURN_END}"
            )
        self.is_open = at == len(self._messages) - 1
        end = "" if self.is_open else _TEXT_END + _TURN_END
        return f"{thinking}{_TEXT}{message.content}{end}"

    def _call(self, call: ToolCall) -> str:
        number, self._count = str(self._count), self._count + 1
        if call.id:
            self._numbers.setdefault(call.id, number)
        return (
            f'\n\n    {{"tool_call_id": "{number}", "tool_name": "{call.function.name}", '
            f'"parameters": {marshal(arguments_json(call), spaced=True)}}}'
        )

    def _result(self, at: int, message: Message) -> str:
        """Results that follow each other share a turn."""
        roles = [other.role.lower() for other in self._messages]
        is_first = at == 0 or roles[at - 1] != "tool"
        is_last = roles[at + 1 : at + 2] != ["tool"]
        start = f"{_TURN}<|SYSTEM_TOKEN|><|START_TOOL_RESULT|>[" if is_first else ","
        end = f"\n\n]<|END_TOOL_RESULT|>{_TURN_END}" if is_last else ""
        number = self._numbers.get(message.tool_call_id, message.tool_call_id)
        return start + _result_entry(number, message.content) + end


def _result_entry(number: str, content: str) -> str:
    return (
        f'\n    {{\n        "tool_call_id": "{number}",\n        "results": {{\n\n            \n'
        f'            "0": {{"content": {string(content)}}}\n\n        }},\n        "is_error": null\n    }}'
    )
