"""Glimmer: headers with recipients, calls as `atem` blocks, a reasoning strength in the system message."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlx_ollama.api.messages import Message, Think, Tool, ToolCall
from mlx_ollama.prompt.conversation import Conversation
from mlx_ollama.prompt.go_json import Object, marshal, parameters_json
from mlx_ollama.prompt.go_template.formatting import format_value
from mlx_ollama.prompt.renderers.images import ImageMarks
from mlx_ollama.prompt.renderers.values import arguments

_START, _MESSAGE = "<|start|>", "<|message|>"
_MESSAGE_END, _TURN_END = "<|eom|>", "<|eot|>"
_IDENTITY = "You are a helpful AI assistant.\nKnowledge cutoff: 2026-01-04."
_TOOLS_HEAD = """In this environment you have access to a set of tools you can use to answer the user's question.

You can invoke a function by writing a "<atem:function_calls>" block like the following:
<atem:function_calls>
<atem:invoke name="$FUNCTION_NAME">
<atem:parameter name="$PARAMETER_NAME">$PARAMETER_VALUE</atem:parameter>
...
</atem:invoke>
</atem:function_calls>

String and scalar parameters should be specified as is, while lists and objects should use JSON format. Note that spaces for string values are not stripped. The output is not expected to be valid XML and is parsed with regular expressions.
Here are the functions available in JSONSchema format:
// Tool metadata
"""
_TOOLS_TAIL = """

Here's an example of how to call a function in the tool set:
(If the tool namespace is not specified, invoke the function directly as `example_function_name` rather than `example_tool_name.example_function_name`)

to=example_tool_name.example_function_name

<atem:function_calls>
<atem:invoke name="example_tool_name.example_function_name">
<atem:parameter name="example_parameter_1">value_1</atem:parameter>
<atem:parameter name="example_parameter_2">This is the value for the second parameter
that can span
"multiple" lines
</atem:parameter>
</atem:invoke>
</atem:function_calls>"""
_EFFORT_WORDS = (
    ("Reasoning effort", "Reasoning strength"),
    ("Reasoning Effort", "Reasoning Strength"),
    ("reasoning effort", "reasoning strength"),
    ("REASONING EFFORT", "REASONING STRENGTH"),
)


@dataclass(frozen=True)
class Glimmer:
    image_tags: bool = True
    leading_bos = "<|begin_of_text|>"

    def render(self, conversation: Conversation) -> str:
        messages = conversation.messages
        strength = _strength(conversation.think)
        marks = ImageMarks(self.image_tags, "<|patch|>")
        turns = [
            _turn(conversation, at, marks.text(messages[at]), strength)
            for at in range(len(messages))
        ]
        head = ""
        if not any(message.role == "system" for message in messages):
            head = _default_system(conversation, strength)
        return self.leading_bos + head + "".join(turns) + f"{_START}assistant"


def _strength(think: Think) -> str:
    if isinstance(think, str):
        return think
    return "none" if think is False else "high"


def _said(header: str, text: str, end: str = _TURN_END) -> str:
    return f"{_START}{header}{_MESSAGE}{text}{end}"


# ---- system


def _default_system(conversation: Conversation, strength: str) -> str:
    today = conversation.now or datetime.now().astimezone()
    text = f"{_IDENTITY}\nCurrent date: {today:%Y-%m-%d}.\n\nReasoning strength: {strength}."
    return _said("system", text + _tail(conversation.tools))


def _system(text: str, tools: list[Tool], strength: str) -> str:
    for old, new in _EFFORT_WORDS:
        text = text.replace(old, new)
    if "reasoning strength" not in text.lower():
        text += f"\n\nReasoning strength: {strength}."
    return _said("system", text + _tail(tools))


def _tail(tools: list[Tool]) -> str:
    """The tools, and who may be spoken to."""
    spaces = list(dict.fromkeys(tool.function.name.partition(".")[0] for tool in tools))
    listed = f"\n\n{_tools(tools, spaces)}" if tools else ""
    recipients = ", ".join(['"self"', *(f'"{space}.*"' for space in spaces), '"user"'])
    return f"{listed}\n\n# Valid recipients: {recipients}."


def _tools(tools: list[Tool], spaces: list[str]) -> str:
    metadata = "".join(f"{_json(Object(name=space, description=''))}\n" for space in spaces)
    schemas = "".join(f"\n{_json(_schema(tool))}" for tool in tools)
    return f"{_TOOLS_HEAD}{metadata}// Function schemas{schemas}{_TOOLS_TAIL}"


def _schema(tool: Tool) -> Object:
    function = tool.function
    return Object(
        name=function.name,
        description=function.description,
        parameters=parameters_json(function.parameters),
    )


def _json(value: Any) -> str:
    return marshal(value, escape_html=False, spaced=True)


# ---- turns


def _turn(conversation: Conversation, at: int, text: str, strength: str) -> str:
    message = conversation.messages[at]
    match message.role:
        case "system":
            return _system(text, conversation.tools, strength)
        case "user":
            return _said("user", text)
        case "tool":
            name = _result_name(message, conversation.messages)
            return _said(f"tool {name}", f'<tool_output name="{name}">\n{text}\n</tool_output>')
        case "assistant":
            following = conversation.messages[at + 1 : at + 2]
            goes_on = bool(following) and following[0].role == "assistant"
            return _answer(message, text, _MESSAGE_END if goes_on else _TURN_END)
        case _:
            return ""


def _answer(message: Message, text: str, end: str) -> str:
    thinking = message.thinking
    said = _said("assistant to=self", thinking, _MESSAGE_END) if thinking else ""
    if message.tool_calls:
        *before, last = message.tool_calls
        said += "".join(_call(call, _MESSAGE_END) for call in before)
        return said + _call(last, end)
    if text or not thinking:
        said += _said("assistant to=user", text)
    return said


def _call(call: ToolCall, end: str) -> str:
    name = call.function.name
    parameters = "".join(
        f'<atem:parameter name="{key}">{_value(value)}</atem:parameter>\n'
        for key, value in arguments(call)
    )
    block = (
        f'<atem:function_calls>\n<atem:invoke name="{name}">\n{parameters}'
        "</atem:invoke>\n</atem:function_calls>"
    )
    return _said(f"assistant to={name}", block, end)


def _value(value: Any) -> str:
    if value is None:
        return "null"
    return _json(value) if isinstance(value, (dict, list)) else format_value(value)


def _result_name(message: Message, messages: list[Message]) -> str:
    """The name of the tool that answers: its own, else that of the last call with its id."""
    if message.tool_name or not message.tool_call_id:
        return message.tool_name
    names = [
        call.function.name
        for other in messages
        for call in other.tool_calls
        if call.id == message.tool_call_id
    ]
    return names[-1] if names else message.tool_call_id
