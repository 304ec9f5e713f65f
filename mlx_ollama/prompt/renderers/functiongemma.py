"""FunctionGemma: Gemma's turns with declarations, calls and responses of functions."""

from mlx_ollama.api.messages import Message, Tool, ToolCall, ToolParameters, ToolProperty
from mlx_ollama.prompt.conversation import Conversation
from mlx_ollama.prompt.renderers.history import split_system, trim
from mlx_ollama.prompt.renderers.values import braced, sorted_arguments

QUOTE, NULL = "<escape>", "<nil>"
_SYSTEM = "You can do function calling with the following functions:"


class FunctionGemma:
    leading_bos = "<bos>"

    def render(self, conversation: Conversation) -> str:
        system, messages = split_system(conversation, ("system", "developer"))
        walk = _Walk(messages)
        turns = [walk.turn(at, message) for at, message in enumerate(messages)]
        opening = "" if walk.after == "response" else "<start_of_turn>model\n"
        return "<bos>" + _system(system or "", conversation.tools) + "".join(turns) + opening


def _system(system: str, tools: list[Tool]) -> str:
    if not system and not tools:
        return ""
    text = trim(system)
    if tools:
        text += "\n" if system else ""
        text += "" if trim(system) == _SYSTEM else _SYSTEM
    declared = "".join(map(_declaration, tools))
    return f"<start_of_turn>developer\n{text}{declared}<end_of_turn>\n"


class _Walk:
    """`after`: whether a call or a response was the last thing said."""

    def __init__(self, messages: list[Message]) -> None:
        self._messages = messages
        self.after = ""

    def turn(self, at: int, message: Message) -> str:
        match message.role:
            case "assistant":
                return self._answer(at, message)
            case "user":
                return f"{self._start('user')}{trim(message.content)}<end_of_turn>\n"
            case "tool":
                return self._response(at, message)
            case role:
                return f"<start_of_turn>{role}\n{trim(message.content)}<end_of_turn>\n"

    def _start(self, role: str) -> str:
        """A response is followed up in the same turn."""
        start = "" if self.after == "response" else f"<start_of_turn>{role}\n"
        self.after = ""
        return start

    def _answer(self, at: int, message: Message) -> str:
        text = self._start("model") + trim(message.content)
        text += "".join(map(_call, message.tool_calls))
        following = self._messages[at + 1 : at + 2]
        if message.tool_calls and following and following[0].role == "tool":
            self.after = "call"
            return f"{text}<start_function_response>"
        return f"{text}<end_of_turn>\n"

    def _response(self, at: int, message: Message) -> str:
        start = "" if self.after == "call" else "<start_function_response>"
        self.after = "response"
        name = _called_name(self._messages, at)
        return f"{start}response:{name}{{{braced(message.content, QUOTE, NULL)}}}<end_function_response>"


def _called_name(messages: list[Message], at: int) -> str:
    """The function whose turn it is: results come in the order of the calls before them."""
    results = 0
    for message in reversed(messages[:at]):
        if message.role == "assistant" and message.tool_calls:
            calls = message.tool_calls
            return calls[results].function.name if results < len(calls) else ""
        results += message.role == "tool"
    return ""


def _declaration(tool: Tool) -> str:
    function, parameters = tool.function, tool.function.parameters
    text = f"description:<escape>{function.description}<escape>"
    if parameters.properties is not None or parameters.type:
        text += f",parameters:{{{_parameters(parameters)}}}"
    return f"<start_function_declaration>declaration:{function.name}{{{text}}}<end_function_declaration>"


def _parameters(parameters: ToolParameters) -> str:
    parts: list[str] = []
    if parameters.properties:
        shown = ",".join(
            _property(name, schema)
            for name, schema in sorted(parameters.properties.items(), key=lambda e: e[0].encode())
        )
        parts.append(f"properties:{{{shown}}}")
    if parameters.required:
        names = ",".join(f"<escape>{name}<escape>" for name in parameters.required)
        parts.append(f"required:[{names}]")
    if parameters.type:
        parts.append(f"type:<escape>{parameters.type.upper()}<escape>")
    return ",".join(parts)


def _property(name: str, schema: ToolProperty) -> str:
    kind = f",type:<escape>{schema.type[0].upper()}<escape>" if schema.type else ""
    return f"{name}:{{description:<escape>{schema.description}<escape>{kind}}}"


def _call(call: ToolCall) -> str:
    entries = ",".join(
        f"{name}:{braced(value, QUOTE, NULL)}" for name, value in sorted_arguments(call)
    )
    return f"<start_function_call>call:{call.function.name}{{{entries}}}<end_function_call>"
