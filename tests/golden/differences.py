"""Where our parsers differ from the reference on purpose, and why: rules, not lists of cases.

A rule says what both totals must look like; a total that no rule explains is a failure. `compare` names the rule.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
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


def _contains(more: str, less: str) -> bool:
    """Whether `less` is `more` with pieces left out."""
    rest = iter(more)
    return all(character in rest for character in less)


def _calls_contain(more: Total, less: Total) -> bool:
    rest = iter(more.calls)
    return all(any(_same_call(ours, theirs) for ours in rest) for theirs in less.calls)


def _same_call(ours: Any, theirs: Any) -> bool:
    """Calls alike but for their index."""
    return (ours[0], ours[2]) == (theirs[0], theirs[2]) and same(ours[3], theirs[3])


def _keeps_all(case: Case) -> bool:
    """Whether we have everything the reference has, and nothing that is not in the reply."""
    ours, theirs = case.ours, case.theirs
    return (
        _contains(ours.content, theirs.content)
        and _contains(ours.thinking, theirs.thinking)
        and _contains(case.output, ours.content)
        and _contains(case.output, ours.thinking)
        and _calls_contain(ours, theirs)
    )


def _no_blanks(total: Total) -> tuple[str, str]:
    return "".join(total.content.split()), "".join(total.thinking.split())


def kept_end(case: Case) -> bool:
    """White space or the beginning of a tag at the end of the reply: the reference never gives it out."""
    ours, theirs = case.ours, case.theirs
    extra = ours.content[len(theirs.content) :] + ours.thinking[len(theirs.thinking) :]
    return (
        ours.content.startswith(theirs.content)
        and ours.thinking.startswith(theirs.thinking)
        and case.output.endswith(extra)
        and len(extra.strip()) < 25
        and not case.error
        and same(ours.calls, theirs.calls)
    )


def text_for_error(case: Case) -> bool:
    """The reference fails the whole reply over one call; we give the call as text, or read it all the same."""
    return bool(case.error) and _keeps_all(case)


def other_split(case: Case) -> bool:
    """The reference's result depends on the split: ours is that of the reply in one piece."""
    return not case.error and any(equal(case.ours, other) for other in case.others)


def blanks_of_split(case: Case) -> bool:
    """The reference keeps or drops the white space beside tags by the split; otherwise we agree."""
    return (
        not case.error
        and any(not equal(case.theirs, other) for other in case.others)
        and _no_blanks(case.ours) == _no_blanks(case.theirs)
        and same(case.ours.calls, case.theirs.calls)
    )


def dropped_call(case: Case) -> bool:
    """The reference drops a call that is odd or cut off; we read it, or give it as text."""
    ours, theirs = case.ours, case.theirs
    grown = len(ours.calls) > len(theirs.calls) or len(ours.content) > len(theirs.content)
    return not case.error and grown and _keeps_all(case)


def nameless_call(case: Case) -> bool:
    """The reference makes a call without a name, or with one that is no name; to us it is text, or a good call."""
    good = [call for call in case.theirs.calls if re.fullmatch(r"[\w.\-]+", call[2])]
    if len(good) == len(case.theirs.calls):
        return False
    grown = len(case.ours.calls) > len(good) or len(case.ours.content) > len(case.theirs.content)
    return grown and _keeps_all(replace(case, theirs=replace(case.theirs, calls=good)))


def _words(value: Any) -> set[str]:
    return set(re.findall(r"\w+", json.dumps(value, ensure_ascii=False)))


def cut_arguments(case: Case) -> bool:
    """The reference makes a call without the arguments that it could not read, or with one that was cut off.

    We read more of them, or give the whole as text.
    """
    ours, theirs = case.ours, case.theirs
    if case.error or ours.thinking != theirs.thinking or len(ours.calls) > len(theirs.calls):
        return False
    lost = _words([case.output]) - _words([theirs.content, theirs.thinking, theirs.calls])
    if len(ours.calls) < len(theirs.calls):
        text = ours.content != theirs.content and _contains(case.output, ours.content)
        return (
            text
            and _contains(ours.content, theirs.content)
            and bool(lost & _words(ours.content) or case.output.endswith(ours.content))
        )
    return ours.content == theirs.content and bool(lost & _words(ours.calls))


def tag_in_value(case: Case) -> bool:
    """The reference ends a call at a closing tag inside a value, and gives the rest of the call as text."""
    ours, theirs = case.ours, case.theirs
    return (
        not case.error
        and len(ours.calls) == len(theirs.calls)
        and len(ours.content) < len(theirs.content)
        and _contains(theirs.content, ours.content)
        and _words(theirs.calls) < _words(ours.calls)
    )


def read_call(case: Case) -> bool:
    """The reference gives a call as text, because it stands alone or after another one; we read it."""
    ours, theirs = case.ours, case.theirs
    return (
        not case.error
        and len(ours.calls) > len(theirs.calls)
        and _calls_contain(ours, theirs)
        and ours.thinking == theirs.thinking
        and _contains(theirs.content, ours.content)
        and _words([call[2:] for call in ours.calls]) <= _words([theirs.content, theirs.calls])
    )


def _readings(text: str) -> tuple[str, ...]:
    """What a text is with its escapes read: all of them, or those of characters by number."""
    everything = text.encode("latin-1", "backslashreplace").decode("unicode-escape")
    numbers = re.sub(r"\\u([0-9a-f]{4})", lambda found: chr(int(found[1], 16)), text)
    return everything, numbers, text.removeprefix("<escape>")


def _mangled(ours: Any, theirs: Any) -> bool:
    """Whether `theirs` is our value as the reference mangles values, or equal to it."""
    if same(ours, theirs):
        return True
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(_mangled(ours[k], theirs[k]) for k in ours)
    if isinstance(ours, list | tuple) and isinstance(theirs, list | tuple):
        return len(ours) == len(theirs) and all(map(_mangled, ours, theirs))
    if isinstance(ours, str) and isinstance(theirs, str):
        blurred = "".join(c if c.isascii() else "\ufffd" for c in ours)
        return theirs == blurred or ours in _readings(theirs)
    empty = theirs is None and ours in ([], {})
    return (
        empty or (ours is None and theirs == "null") or (theirs is False and isinstance(ours, str))
    )


def mangled_arguments(case: Case) -> bool:
    """The reference changes values: characters outside ASCII, escapes, empty lists, null, words for booleans."""
    ours, theirs = case.ours, case.theirs
    return (
        not case.error
        and (ours.content, ours.thinking) == (theirs.content, theirs.thinking)
        and [call[:3] for call in ours.calls] == [call[:3] for call in theirs.calls]
        and all(_mangled(a[3], b[3]) for a, b in zip(ours.calls, theirs.calls, strict=True))
    )


RULES: dict[str, Callable[[Case], bool]] = {
    "kept end": kept_end,
    "text for error": text_for_error,
    "other split": other_split,
    "blanks of split": blanks_of_split,
    "mangled arguments": mangled_arguments,
    "dropped call": dropped_call,
    "nameless call": nameless_call,
    "cut arguments": cut_arguments,
    "tag in value": tag_in_value,
    "read call": read_call,
}


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
