"""Where our parsers differ from the reference on purpose, and why: rules, not lists of cases.

A rule says what both totals must look like; a total that no rule explains is a failure. `compare` names the rule.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mlx_ollama.parsers.parser import Parsed


@dataclass
class Total:
    """All that a parser gave for one reply; calls as id, index, name, arguments."""

    content: str = ""
    thinking: str = ""
    calls: list[tuple[str, int, str, Any]] = field(default_factory=list)

    def take(self, parsed: Parsed) -> "Total":
        self.content += parsed.content
        self.thinking += parsed.thinking
        for call in parsed.tool_calls:
            function = call.function
            self.calls.append((call.id, function.index, function.name, function.arguments))
        return self


class Verdict(NamedTuple):
    rule: str
    text: str

    @property
    def is_deliberate(self) -> bool:
        return bool(self.rule)

    def __str__(self) -> str:
        return f"[{self.rule}] {self.text}" if self.rule else self.text


def to_total(wanted: dict[str, Any]) -> Total:
    """The reference's total as one of ours."""
    calls = [
        (
            call.get("id", ""),
            call["function"].get("index", 0),
            call["function"]["name"],
            call["function"]["arguments"],
        )
        for call in wanted["tool_calls"]
    ]
    return Total(wanted["content"], wanted["thinking"], calls)


def same(ours: Any, theirs: Any) -> bool:
    """Values as JSON, numbers as the reference's float64; no arguments are an empty object (contract 3.9)."""
    if isinstance(ours, bool) or isinstance(theirs, bool):
        return ours is theirs
    if isinstance(ours, int | float) and isinstance(theirs, int | float):
        return float(ours) == float(theirs)
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(same(ours[k], theirs[k]) for k in ours)
    if isinstance(ours, list | tuple) and isinstance(theirs, list | tuple):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return type(ours) is type(theirs) and ours == theirs


@dataclass
class Case:
    """What a rule looks at. `others`: the reference's totals of other splits. `output`: the reply."""

    ours: Total
    theirs: Total
    error: str
    others: list[Total]
    output: str


def equal(ours: Total, theirs: Total) -> bool:
    return (ours.content, ours.thinking) == (theirs.content, theirs.thinking) and same(
        ours.calls, theirs.calls
    )


RULES: dict[str, Callable[[Case], bool]] = {}


def compare(
    ours: Total, wanted: dict[str, Any], others: list[dict[str, Any]], output: str
) -> Verdict | None:
    """None when the totals are equal; else the rule that explains the difference, or none of them."""
    case = Case(
        ours, to_total(wanted), wanted.get("error", ""), list(map(to_total, others)), output
    )
    if not case.error and equal(ours, case.theirs):
        return None
    text = f"ours {ours}, reference {case.theirs} {case.error}"
    rule = next((name for name, holds in RULES.items() if holds(case)), "")
    return Verdict(rule, text)
