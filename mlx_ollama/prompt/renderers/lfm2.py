"""LFM2, plain and thinking: ChatML with tool lists, Python-like calls and responses in tags."""

from dataclasses import dataclass
from typing import Any

from mlx_ollama.api.messages import Message, Tool, ToolCall
from mlx_ollama.prompt.conversation import Conversation
from mlx_ollama.prompt.go_json import function_json, marshal, tool_json
from mlx_ollama.prompt.renderers.history import (
    ends_in_answer,
    is_on,
    is_prefill,
    last_index,
    split_system,
    trim,
)
from mlx_ollama.prompt.renderers.images import ImageMarks
from mlx_ollama.prompt.renderers.values import sorted_arguments

_CALL_START, _CALL_END = "<|tool_call_start|>", "<|tool_call_end|>"
_RESPONSE_START, _RESPONSE_END = "<|tool_response_start|>", "<|tool_response_end|>"


@dataclass(frozen=True)
class LFM2:
    """`thinks`: the thinking model, whose history may show its thinking."""

    thinks: bool = False
    image_tags: bool = True
    leading_bos = "<|startoftext|>"

    def render(self, conversation: Conversation) -> str:
        system, messages = split_system(conversation)
        marks = ImageMarks(self.image_tags, "<image>")
        if system is not None:
            marks.text(conversation.messages[0])
        keeps_all = self.thinks and is_on(conversation.think, default=False)
        last = last_index(messages, "assistant")
        turns = [
            self._turn(messages, at, marks, keeps_all or at == last) for at in range(len(messages))
        ]
        opening = "" if ends_in_answer(conversation.messages) else "<|im_start|>assistant\n"
        return (
            self.leading_bos + _system(system or "", conversation.tools) + "".join(turns) + opening
        )

    def _turn(
        self, messages: list[Message], at: int, marks: ImageMarks, keeps_thinking: bool
    ) -> str:
        message = messages[at]
        text = self._with_images(message, marks)
        if message.role == "assistant":
            text = self._answer(message, text, keeps_thinking)
        if message.role == "tool" and _RESPONSE_START not in text:
            text = f"{_RESPONSE_START}{text}{_RESPONSE_END}"
        end = "" if is_prefill(messages, at) else "<|im_end|>\n"
        return f"<|im_start|>{message.role}\n{text}{end}"

    def _with_images(self, message: Message, marks: ImageMarks) -> str:
        text = marks.text(message)
        is_marked = not self.image_tags and "<image>" in message.content
        return message.content if is_marked else text

    def _answer(self, message: Message, text: str, keeps_thinking: bool) -> str:
        if message.tool_calls and _CALL_START not in text:
            text = _calls(message.tool_calls) + ("\n" if trim(text) else "") + text
        if self.thinks and message.thinking and "</think>" not in text:
            text = f"<think>{message.thinking}</think>{text}"
        if not keeps_thinking and "</think>" in text:
            text = trim(text.rpartition("</think>")[2])
        return text


def _system(system: str, tools: list[Tool]) -> str:
    parts = [system]
    if tools:
        listed = ", ".join(
            _json(function_json(tool.function) if tool.function.name else tool_json(tool))
            for tool in tools
        )
        parts.append(f"List of tools: <|tool_list_start|>[{listed}]<|tool_list_end|>")
    text = "\n".join(filter(None, parts))
    return f"<|im_start|>system\n{text}<|im_end|>\n" if text else ""


def _calls(calls: list[ToolCall]) -> str:
    written = [
        f"{call.function.name}("
        + ",".join(f"{name}={_json(value)}" for name, value in sorted_arguments(call))
        + ")"
        for call in calls
    ]
    return f"{_CALL_START}[{','.join(written)}]{_CALL_END}"


def _json(value: Any) -> str:
    return marshal(value, escape_html=False, spaced=True)
