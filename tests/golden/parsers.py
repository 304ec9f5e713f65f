"""Built-in parsers: our total of a reply, split in every way, against the reference's.

Where we differ on purpose, `tests.golden.differences` says by which rule; such a case passes, and -v prints it.
"""

import json
import random
from collections.abc import Callable
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from mlx_ollama.api.messages import Message, Tool, ToolProperty
from mlx_ollama.parsers.output import parser_info, pick_parser, tools_for_prompt
from mlx_ollama.parsers.parser import OutputParser
from tests.conftest import SHARED
from tests.golden import Deliberate
from tests.golden.differences import Total, compare

Case = dict[str, Any]
Make = Callable[[], OutputParser]


def to_typed(schema: dict[str, Any]) -> dict[str, Any]:
    """A property with its type as a list, as the request decoder makes it."""
    typed = dict(schema)
    if "type" in typed:
        typed["type"] = typed["type"] if isinstance(typed["type"], list) else [typed["type"]]
    if "anyOf" in typed:
        typed["anyOf"] = [to_typed(option) for option in typed["anyOf"]]
    if typed.get("properties"):
        typed["properties"] = {name: to_typed(item) for name, item in typed["properties"].items()}
    return typed


def to_property(schema: dict[str, Any]) -> ToolProperty:
    return msgspec.convert(to_typed(schema), ToolProperty)


def to_tools(tools: list[dict[str, Any]]) -> list[Tool]:
    """Tools as a request would bring them."""
    tree = json.loads(json.dumps(tools))
    for tool in tree:
        parameters = tool["function"].get("parameters") or {}
        if parameters.get("properties"):
            parameters["properties"] = {
                name: to_typed(item) for name, item in parameters["properties"].items()
            }
    return msgspec.convert(tree, list[Tool])


@cache
def _standard_tools() -> list[Tool]:
    paths = (
        SHARED / "golden/go/parsers.tools.json",
        Path(__file__).parents[1] / "data/parsers/tools.json",
    )
    path = next(path for path in paths if path.is_file())
    return to_tools(json.loads(path.read_text("utf-8"))["STD"])


def tools_of(case: Case) -> list[Tool]:
    tools = case.get("tools")
    return _standard_tools() if tools == "STD" else to_tools(tools or [])


def feed(parser: OutputParser, pieces: list[str], *, done: bool = True) -> Total:
    """All that comes out, one after another; done is a call of its own, as in the server."""
    total = Total()
    for piece in pieces:
        total.take(parser.add(piece))
    if done:
        total.take(parser.add("", done=True))
    return total


def splits(case: Case) -> list[list[str]]:
    """The reply in the reference's chunks, whole, one character at a time, and at random."""
    output = case["output"]
    offsets = list(case.get("chunkings", {}).values())
    draw = random.Random(case["id"])
    for _ in range(3):
        count = min(len(output), draw.randint(1, 9))
        offsets.append(sorted(draw.sample(range(len(output)), count)) if output else [])
    pieces = [[output], list(output)]
    for cuts in offsets:
        bounds = [0, *cuts, len(output)]
        pieces.append([output[a:b] for a, b in pairwise(bounds)])
    return pieces


def replay(adds: list[Any]) -> dict[str, Any]:
    """The reference's total of one chunking."""
    total: dict[str, Any] = {"content": "", "thinking": "", "tool_calls": []}
    for add in adds:
        item = {"c": add} if isinstance(add, str) else add or {}
        total["content"] += item.get("c", "")
        total["thinking"] += item.get("t", "")
        total["tool_calls"] += item.get("calls", [])
        if "error" in item:
            total["error"] = item["error"]
    return total


def one_total(make: Make, case: Case) -> Total | str:
    """Our total, or how it depends on the split."""
    totals = [feed(make(), pieces) for pieces in splits(case)]
    whole = make().add(case["output"], done=True)
    totals.append(Total().take(whole))
    if any(total != totals[0] for total in totals):
        return f"depends on the split: {next(t for t in totals if t != totals[0])} or {totals[0]}"
    return totals[0]


def evaluate_total(case: Case, make: Make, run: dict[str, Any] | None = None) -> str | None:
    """What differs between our total and that of a run, by default the case itself."""
    run = case if run is None else run
    ours = one_total(make, case)
    if isinstance(ours, str):
        return ours
    if "unmarshalable" in run:
        return Deliberate("[not a number] the reference gives a value that JSON cannot carry")
    total: dict[str, Any] = {"thinking": "", "tool_calls": [], **run["total"]}
    total["content"] += total.get("final_content", "")
    others = [replay(run["adds"][name]) for name in ("whole", "whole_done") if name in run["adds"]]
    kind = case.get("parser") or ("harmony" if case["group"] == "handler" else "generic")
    verdict = compare(kind, ours, total, others, case["output"])
    if verdict is None:
        return None
    return Deliberate(str(verdict)) if verdict.is_deliberate else str(verdict)


def evaluate(case: Case) -> str | None:
    """What differs, or None."""
    if case["group"] == "info":
        return _evaluate_info(case)
    tools = tools_of(case)
    last = case.get("last_message")
    last_message = msgspec.convert(last, Message) if last else None

    def make(think: Any) -> OutputParser:
        return pick_parser(case["parser"], tools=tools, last_message=last_message, think=think)

    names = [tool.function.name for tool in tools_for_prompt(case["parser"], tools)]
    found: list[str] = []
    for run in case["runs"]:
        if run.get("init_tools", names) != names:
            return f"tools {names}, reference {run['init_tools']}"
        for think in run["think"]:
            difference = evaluate_total(case, partial(make, think), run)
            found += [difference] if difference is not None else []
    return min(found, key=lambda item: isinstance(item, Deliberate), default=None)


def _evaluate_info(case: Case) -> str | None:
    info = parser_info(case["parser"])
    ours = info and {
        "has_tools": info.has_tools,
        "has_thinking": info.has_thinking,
        "preserved_tokens": list(info.preserved_tokens) or None,
    }
    return None if ours == case["want"] else f"ours {ours}, reference {case['want']}"
