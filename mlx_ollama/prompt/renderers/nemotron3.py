"""Nemotron 3 and 3.5 Nano: ChatML with tools as XML and values as Python shows them."""

from dataclasses import dataclass
from typing import Any

from mlx_ollama.api.messages import Message, Think, Tool, ToolCall, ToolParameters, ToolProperty
from mlx_ollama.prompt.conversation import Conversation
from mlx_ollama.prompt.go_json import Object, as_request_numbers, marshal, number, property_json
from mlx_ollama.prompt.go_strconv import quote
from mlx_ollama.prompt.go_template.formatting import format_value
from mlx_ollama.prompt.renderers.history import (
    is_on,
    last_index,
    last_of_results,
    split_system,
    trim,
)
from mlx_ollama.prompt.renderers.images import ImageMarks
from mlx_ollama.prompt.renderers.qwen3_coder import CALL_INSTRUCTIONS
from mlx_ollama.prompt.renderers.values import arguments


@dataclass(frozen=True)
class Nemotron3:
    """`is_35`: thinking is the request's alone; in 3 the texts `/think` and `/no_think` switch it."""

    is_35: bool = False
    leading_bos = ""

    def render(self, conversation: Conversation) -> str:
        system, messages = split_system(conversation)
        user = last_index(messages, "user")
        marks = ImageMarks(True)
        turns = [
            self._turn(messages, at, marks, user, conversation.think) for at in range(len(messages))
        ]
        opening = "<think>\n" if self._thinks(conversation) else "<think></think>"
        return (
            self._system(system or "", conversation.tools)
            + "".join(turns)
            + f"<|im_start|>assistant\n{opening}"
        )

    def _thinks(self, conversation: Conversation) -> bool:
        thinks = is_on(conversation.think, default=True)
        if self.is_35:
            return thinks
        for message in conversation.messages:
            if message.role not in ("user", "system"):
                continue
            if "/think" in message.content.replace("</think>", ""):
                thinks = True
            elif "/no_think" in message.content:
                thinks = False
        return thinks

    def _system(self, system: str, tools: list[Tool]) -> str:
        text = system if self.is_35 else _without_switches(system)
        parts = [text, _tools(tools) if tools else ""]
        return f"<|im_start|>system\n{_joined(parts)}<|im_end|>\n"

    def _turn(
        self, messages: list[Message], at: int, marks: ImageMarks, user: int, think: Think
    ) -> str:
        message = messages[at]
        match message.role:
            case "assistant":
                return f"<|im_start|>assistant\n{self._answer(message, at < user)}<|im_end|>\n"
            case "user" | "system":
                text = marks.text(message)
                if not self.is_35:
                    text = trim(_without_switches(text))
                elif think == "medium" and at == user:
                    text += "\n\n{reasoning effort: efficient}"
                return f"<|im_start|>{message.role}\n{text}<|im_end|>\n"
            case "tool":
                return _result(messages, at, marks.text(message))
            case role:
                return f"<|im_start|>{role}\n{message.content}<|im_end|>\n"

    def _answer(self, message: Message, is_past: bool) -> str:
        content = self._with_thinking(message)
        if not message.tool_calls:
            return _past(content) if is_past else trim(content)
        calls = "".join(map(_call, message.tool_calls))
        return f"{_before_calls(content, is_past)}{calls}"

    def _with_thinking(self, message: Message) -> str:
        content, thinking = message.content, message.thinking
        if thinking and self.is_35:
            return f"<think>\n{thinking}</think>{content}"
        if thinking:
            return f"<think>\n{thinking}\n</think>\n{content}"
        if "<think>" in content or "</think>" in content:
            return content
        return f"<think></think>{content}"


def _joined(parts: list[str]) -> str:
    return "\n\n".join(filter(None, parts))


def _without_switches(text: str) -> str:
    kept = text.replace("</think>", "<_end_think>").replace("/think", "").replace("/no_think", "")
    return kept.replace("<_end_think>", "</think>")


def _past(content: str) -> str:
    """An answer before the last question, its thinking emptied."""
    if "<think>" in content and "</think>" in content:
        content = "<think></think>" + content.rpartition("</think>")[2]
    return trim(content)


def _before_calls(content: str, is_past: bool) -> str:
    if not trim(content):
        return "<think></think>"
    if is_past:
        if "</think>" in content:
            content = content.rpartition("</think>")[2]
        else:
            content = content.partition("<think>")[0]
        content = "<think></think>" + trim(content)
    return trim(content) + "\n"


def _result(messages: list[Message], at: int, text: str) -> str:
    start = "<|im_start|>user\n" if at > 0 and messages[at - 1].role != "tool" else ""
    end = "<|im_end|>\n" if last_of_results(messages, at) else ""
    return f"{start}<tool_response>\n{text}\n</tool_response>\n{end}"


def _call(call: ToolCall) -> str:
    parameters = "".join(
        f"<parameter={name}>\n{python_text(value)}\n</parameter>\n"
        for name, value in arguments(call)
    )
    return f"<tool_call>\n<function={call.function.name}>\n{parameters}</function>\n</tool_call>\n"


# ---- tools


def _tools(tools: list[Tool]) -> str:
    functions = "".join(map(_function, tools))
    return (
        "# Tools\n\nYou have access to the following functions:\n\n"
        f"<tools>{functions}\n</tools>{CALL_INSTRUCTIONS}"
    )


def _function(tool: Tool) -> str:
    function, parameters = tool.function, tool.function.parameters
    shown = "".join(
        _parameter(name, schema) for name, schema in (parameters.properties or {}).items()
    )
    return (
        f"\n<function>\n<name>{function.name}</name>{_description(function.description)}"
        f"\n<parameters>{shown}{_rest(parameters)}\n</parameters>\n</function>"
    )


def _description(text: str) -> str:
    return _element("description", trim(text)) if text else ""


def _rest(parameters: ToolParameters) -> str:
    extra = {"$defs": parameters.defs, "items": parameters.items}
    shown = [
        _element(key, python_text(as_request_numbers(value)))
        for key, value in extra.items()
        if value is not None
    ]
    if parameters.required:
        shown.append(_element("required", python_json(parameters.required)))
    return "".join(shown)


def _parameter(name: str, schema: ToolProperty) -> str:
    shown = _element("type", _types(schema.type)) if schema.type else ""
    shown += _description(schema.description)
    entries = property_json(schema)
    order = ("enum", "anyOf", "items", "properties", "required")
    shown += "".join(_element(key, python_json(entries[key])) for key in order if key in entries)
    return f"\n<parameter>\n<name>{name}</name>{shown}\n</parameter>"


def _types(types: list[str]) -> str:
    if len(types) == 1:
        return types[0]
    return "[" + ", ".join(f"'{name}'" for name in types) + "]"


def _element(name: str, text: str) -> str:
    return f"\n<{name}>{text}</{name}>"


# ---- values


def python_text(value: Any) -> str:
    """Containers as JSON, the rest as Python's str() shows it."""
    if value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, (dict, list)):
        return python_json(value)
    return format_value(value)


def python_json(value: Any) -> str:
    """JSON with blanks; strings are quoted as Go quotes them, so nothing is escaped for HTML."""
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, float):
        return number(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(python_json, value)) + "]"
    if isinstance(value, dict):
        keys = value if isinstance(value, Object) else sorted(value, key=str.encode)
        return "{" + ", ".join(f"{quote(k)}: {python_json(value[k])}" for k in keys) + "}"
    return marshal(value)
