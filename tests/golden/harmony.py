"""Harmony: messages as events, the handler, function names, TypeScript types."""

from typing import Any

import msgspec

from mlx_ollama.api.messages import Message
from mlx_ollama.parsers.builtin.builtin import Start
from mlx_ollama.parsers.builtin.harmony import first_header
from mlx_ollama.parsers.harmony import FunctionNames, Header, Messages
from mlx_ollama.parsers.output import pick_parser, tools_for_prompt
from mlx_ollama.parsers.reader import Sink
from tests.golden.parsers import evaluate_total, splits, to_property, tools_of

Case = dict[str, Any]


class _Events(Messages):
    """Messages as the reference's events, contents joined."""

    def __init__(self, first: Header | None, *, is_open: bool) -> None:
        super().__init__(first, is_open=is_open)
        self.events: list[dict[str, str]] = []

    def begin(self) -> None:
        self.events.append({"type": "message_start"})

    def header(self, header: Header) -> Sink:
        self.events.append({"type": "header", **header._asdict()})
        return self._content

    def _content(self, text: str) -> None:
        if text:
            self.events.append({"type": "content", "content": text})

    def end(self, *, closed: bool) -> None:
        if closed:
            self.events.append({"type": "message_end"})


def _joined(events: list[dict[str, str]]) -> list[dict[str, str]]:
    joined: list[dict[str, str]] = []
    for event in events:
        if event["type"] == "content" and joined and joined[-1]["type"] == "content":
            joined[-1] = {"type": "content", "content": joined[-1]["content"] + event["content"]}
        else:
            joined.append(event)
    return joined


def _last_message(case: Case) -> Message | None:
    last = case.get("last_message")
    return msgspec.convert(last, Message) if last else None


def _evaluate_events(case: Case) -> str | None:
    first = (
        first_header(Start(last_message=_last_message(case))) if case["start"] == "last" else None
    )
    adds = case["events"].get("tok") or case["events"]["whole"]
    wanted = _joined([event for add in adds for event in add])
    for pieces in splits(case):
        parser = _Events(first, is_open=case["start"] != "none")
        for piece in ("", *pieces):
            parser.add(piece)
        # The end is no call in the reference: what only the end shows does not count.
        if _joined(parser.events) != wanted:
            return f"ours {_joined(parser.events)}, reference {wanted}"
    return None


def _evaluate_handler(case: Case) -> str | None:
    tools, last = tools_of(case), _last_message(case)
    names = [tool.function.name for tool in tools_for_prompt("harmony", tools)]
    if case.get("init_tools", names) != names:
        return f"tools {names}, reference {case['init_tools']}"
    return evaluate_total(case, lambda: pick_parser("harmony", tools=tools, last_message=last))


def _evaluate_names(case: Case) -> str | None:
    names = FunctionNames()
    converted = [names.add(name) for name in case["names"]]
    ours = {"converted": converted, "back": [names.original(name) for name in converted]}
    return None if ours == case["want"] else f"ours {ours}, reference {case['want']}"


def _evaluate_typescript(case: Case) -> str | None:
    from mlx_ollama.prompt.go_template.api_values import property_value, typescript_type

    ours = typescript_type(property_value(to_property(case["property"])).data)
    return None if ours == case["want"] else f"ours {ours}, reference {case['want']}"


_GROUPS = {
    "events": _evaluate_events,
    "handler": _evaluate_handler,
    "function_names": _evaluate_names,
    "typescript_type": _evaluate_typescript,
}


def evaluate(case: Case) -> str | None:
    """What differs, or None."""
    return _GROUPS[case["group"]](case)
