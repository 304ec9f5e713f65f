"""Ollama's use of Go templates: which mode a template runs in, and over what data.

Source: internals 5.3 and appendix A.1, A.2.
"""

from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from msgspec.structs import replace

from mlx_ollama.api.messages import Message, Think, Tool
from mlx_ollama.prompt.conversation import Conversation
from mlx_ollama.prompt.go_json import marshal
from mlx_ollama.prompt.go_template.api_values import (
    TOOL_PROPERTY,
    messages_value,
    tools_value,
    typescript_type,
)
from mlx_ollama.prompt.go_template.encoding import encodable
from mlx_ollama.prompt.go_template.evaluator import run
from mlx_ollama.prompt.go_template.expressions import Program
from mlx_ollama.prompt.go_template.functions import BUILTINS, Function
from mlx_ollama.prompt.go_template.inspection import (
    cut_after_response,
    identifiers,
    thinking_tags,
    tool_tag,
)
from mlx_ollama.prompt.go_template.limits import Limits
from mlx_ollama.prompt.go_template.nodes import (
    ActionNode,
    CommandNode,
    FieldNode,
    ListNode,
    PipeNode,
)
from mlx_ollama.prompt.go_template.parser import parse
from mlx_ollama.prompt.go_template.values import (
    ANY_BY_STRING,
    STRING,
    Value,
)


def functions(now: datetime | None = None) -> dict[str, Function]:
    """Go's functions and Ollama's; dates are of `now`, None: the present, in local time."""

    def date(days_ago: int) -> Value:
        moment = now or datetime.now().astimezone()
        return Value(STRING, f"{moment - timedelta(days=days_ago):%Y-%m-%d}")

    return BUILTINS | {
        "json": Function(_json, ("any",)),
        "currentDate": Function(lambda *_: date(0), ("string",), variadic=True),
        "yesterdayDate": Function(lambda *_: date(1), ("string",), variadic=True),
        "toTypeScriptType": Function(_typescript, ("any",)),
    }


def _json(value: Value) -> Value:
    """Nothing where the value has no JSON (NaN): Ollama drops the error."""
    try:
        return Value(STRING, marshal(encodable(value)))
    except ValueError:
        return Value(STRING, "")


def _typescript(value: Value) -> Value:
    is_property = value.type is TOOL_PROPERTY
    return Value(STRING, typescript_type(value.data) if is_property else "any")


FUNCTION_NAMES = frozenset(functions())


def collate(messages: list[Message]) -> tuple[str, list[Message]]:
    """All system text joined, and the messages with neighbours of one role made one (tool results never).

    Only contents are joined: the later one's images, thinking and calls are gone, as in Ollama.
    """
    collated: list[Message] = []
    for message in messages:
        if collated and collated[-1].role == message.role != "tool":
            joined = f"{collated[-1].content}\n\n{message.content}"
            collated[-1] = replace(collated[-1], content=joined)
        else:
            collated.append(message)
    system = [message.content for message in messages if message.role == "system"]
    return "\n\n".join(system), collated


class GoTemplate:
    """A parsed TEMPLATE. Immutable; one may render for several requests at once."""

    def __init__(self, text: str, trees: dict[str, ListNode]) -> None:
        self.text = text
        self._trees = trees
        self._root = trees[""]
        self._variables = _variables(trees)
        if not self._variables & {"messages", "response"}:
            self._root.nodes.append(_response_action())

    @classmethod
    def parse(cls, text: str) -> "GoTemplate":
        """Raises TemplateError with Go's text."""
        return cls(text, parse(text, FUNCTION_NAMES))

    @cached_property
    def variables(self) -> list[str]:
        """Lower-cased names of the fields and variables it uses, sorted."""
        return sorted(_variables(self._trees))

    @cached_property
    def thinking_tags(self) -> tuple[str, str]:
        """What opens and closes thinking in this template, both "" if that can't be told."""
        return thinking_tags(self._root)

    @cached_property
    def tool_tag(self) -> str:
        """What stands before a tool call: a tag, or "{" for bare JSON."""
        return tool_tag(self._root)

    @cached_property
    def capabilities(self) -> list[str]:
        """Of tools, insert and thinking: those the template has a place for."""
        found = {
            "tools": "tools" in self._variables,
            "insert": "suffix" in self._variables,
            "thinking": "thinking" in self._variables and all(self.thinking_tags),
        }
        return [name for name, is_there in found.items() if is_there]

    def render(self, conversation: Conversation) -> str:
        """The prompt; raises TemplateError."""
        return self.render_thinking(conversation, think_values(conversation.think))

    def render_thinking(self, conversation: Conversation, thinking: dict[str, Any]) -> str:
        """The prompt with the three fields of thinking given."""
        if conversation.prompt and conversation.suffix:
            values = {"Prompt": conversation.prompt, "Suffix": conversation.suffix, "Response": ""}
            return self.execute(values | thinking, conversation.now)
        if "messages" in self._variables:
            return self._render_messages(conversation, thinking)
        return Turns(self, conversation, thinking).render()

    def execute(self, values: dict[str, Any], now: datetime | None = None) -> str:
        """The bare template over the fields given; raises TemplateError."""
        return run(self.turn(now), Value(ANY_BY_STRING, values))

    def _render_messages(self, conversation: Conversation, thinking: dict[str, Any]) -> str:
        system, messages = collate(conversation.messages)
        tools: list[Tool] | None = conversation.tools or None
        values = {
            "System": system,
            "Messages": messages_value(messages or None),
            "Tools": tools_value(tools),
            "Response": "",
        }
        return self.execute(values | thinking, conversation.now)

    def open_turn(self) -> Program:
        """What remains of the template for the turn that the model continues: no own functions, no definitions."""
        tree = cut_after_response(self._root)
        return Program(self.text, {"": tree}, BUILTINS, missing_key_is_nil=False)

    def turn(self, now: datetime | None) -> Program:
        """The whole template."""
        return Program(self.text, self._trees, functions(now))


class Turns:
    """Legacy mode at work: the turn being filled, and the text of those before it.

    The last turn is cut after its response.
    """

    def __init__(
        self, template: GoTemplate, conversation: Conversation, thinking: dict[str, Any]
    ) -> None:
        self._template = template
        self._messages = collate(conversation.messages)[1]
        self._whole = template.turn(conversation.now)
        self._think = thinking
        self._limits = Limits()
        self._text: list[str] = []
        self._turn = {"System": "", "Prompt": "", "Response": ""}

    def render(self) -> str:
        fields = {"system": "System", "user": "Prompt", "assistant": "Response"}
        ended_by = {"system": ("Prompt", "Response"), "user": ("Response",)}
        for message in self._messages:
            if any(self._turn[name] for name in ended_by.get(message.role, ())):
                self._flush(self._whole)
            if message.role in fields:
                self._turn[fields[message.role]] = message.content
        self._flush(self._template.open_turn())
        return "".join(self._text)

    def _flush(self, program: Program) -> None:
        values = Value(ANY_BY_STRING, self._turn | self._think)
        self._text.append(run(program, values, self._limits))
        self._turn = dict.fromkeys(self._turn, "")


def think_values(think: Think) -> dict[str, Any]:
    """`.Think`, `.ThinkLevel` and `.IsThinkSet`; thinking without a level is medium."""
    level = think if isinstance(think, str) else "medium" if think else ""
    return {"Think": bool(think), "ThinkLevel": level, "IsThinkSet": think is not None}


def _variables(trees: dict[str, ListNode]) -> set[str]:
    return {name.lower() for tree in trees.values() for name in identifiers(tree)}


def _response_action() -> ActionNode:
    """`{{ .Response }}`, for templates that speak of neither messages nor response."""
    return ActionNode(0, PipeNode(0, [CommandNode(0, [FieldNode(0, ["Response"])])]))
