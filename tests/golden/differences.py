"""Where our parsers differ from the reference on purpose, and why: rules, not lists of cases.

A rule says what both totals must look like; a total that no rule explains is a failure. `compare` names the rule.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from posixpath import commonprefix
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
    """What a rule looks at. `others`: the reference's totals of other splits. `output`: the reply.

    `kind`: the built-in parser's name, or `generic`.
    """

    kind: str
    ours: Total
    theirs: Total
    error: str
    others: list[Total]
    output: str


def equal(ours: Total, theirs: Total) -> bool:
    return (ours.content, ours.thinking) == (theirs.content, theirs.thinking) and same(
        ours.calls, theirs.calls
    )


# What a call begins with in one of the formats.
_CALL = re.compile(
    r"<tool_call>|<\|tool_call>|<\|tool_call_start\|>|\[TOOL_CALLS\]|<function_calls>|<start_function_call>"
    r"|<｜tool▁call(s▁begin)?|<\|START_ACTION\|>|<atem:function_calls>|<user>|<\|call\|>|functools\["
)
_PARTIAL_TAG = re.compile(r"\s*([<\[][^\s>\]]{0,24})?")
_TAG = re.compile(r"<[^<>]*>|\[[A-Z_]+\]")


def _inserted(more: str, less: str) -> str | None:
    """The one piece that `more` has and `less` lacks, white space at its edges aside; None when that is not all."""
    less = less.rstrip() if more.startswith(less.rstrip()) else less
    start = len(commonprefix([more, less]))
    tail = less[start:]
    if len(more) < len(less) or not more.endswith(tail):
        return None
    return more[start : len(more) - len(tail)]


def _is_call(text: str) -> bool:
    """Whether a text is a call as the model wrote it, perhaps with what followed."""
    return bool(_CALL.match(text.strip()))


def _calls_contain(more: Total, less: Total) -> bool:
    rest = iter(more.calls)
    return all(any(_same_call(ours, theirs) for ours in rest) for theirs in less.calls)


def _same_call(ours: Any, theirs: Any) -> bool:
    """Calls alike but for their index."""
    return (ours[0], ours[2]) == (theirs[0], theirs[2]) and same(ours[3], theirs[3])


def _no_blanks(total: Total) -> tuple[str, str]:
    return "".join(total.content.split()), "".join(total.thinking.split())


def _adds_call(case: Case) -> bool:
    """Whether we have all the reference has, and besides it the text of calls, or calls that we could read."""
    ours, theirs = case.ours, case.theirs
    text = _inserted(ours.content, theirs.content)
    if text is None or text not in case.output or not _calls_contain(ours, theirs):
        return False
    if ours.thinking.rstrip() != theirs.thinking.rstrip():
        return False
    return _is_call(text) or (not text.strip() and len(ours.calls) > len(theirs.calls))


def kept_end(case: Case) -> bool:
    """White space or the beginning of a tag at the end of the reply: the reference never gives it out."""
    ours, theirs = case.ours, case.theirs
    extra = ours.content[len(theirs.content) :] + ours.thinking[len(theirs.thinking) :]
    return (
        ours.content.startswith(theirs.content)
        and ours.thinking.startswith(theirs.thinking)
        and case.output.endswith(extra)
        and bool(_PARTIAL_TAG.fullmatch(extra))
        and not case.error
        and same(ours.calls, theirs.calls)
    )


def text_for_error(case: Case) -> bool:
    """The reference fails the whole reply over one call; we give the call as text, or read it all the same."""
    text = _inserted(case.ours.content, case.theirs.content) or ""
    raw = case.kind == "harmony" and f"raw='{text}'" in case.error
    raw = raw or (case.kind == "glimmer" and bool(text) and text in case.output)
    return bool(case.error) and (_adds_call(case) or raw)


def other_split(case: Case) -> bool:
    """The reference's result depends on the split: ours is that of the reply in one piece."""
    alike = _no_blanks(case.ours) == _no_blanks(case.theirs)
    return (
        not case.error
        and any(equal(case.ours, other) for other in case.others)
        and _calls_contain(case.ours, case.theirs)
        and (alike or len(case.ours.calls) > len(case.theirs.calls))
    )


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
    return not case.error and _adds_call(case)


def nameless_call(case: Case) -> bool:
    """The reference makes a call without a name, or with one that is no name; to us it is text, or a good call."""
    good = [call for call in case.theirs.calls if re.fullmatch(r"[\w.\-]+", call[2])]
    if len(good) == len(case.theirs.calls):
        return False
    case = replace(case, theirs=replace(case.theirs, calls=good))
    return _adds_call(case) or text_in_call(case)


def text_in_call(case: Case) -> bool:
    """Text between the tags of a call and the call itself: the reference drops it."""
    text = _inserted(case.ours.content, case.theirs.content) or ""
    return (
        case.kind
        in ("qwen3-coder", "qwen3.5", "ornith", "nemotron-3-nano", "nemotron-3.5-nano", "cohere")
        and not case.error
        and bool(text)
        and text in case.output
        and not _CALL.search(text)
        and bool(case.ours.calls)
        and same(case.ours.calls, case.theirs.calls)
    )


def text_after_call(case: Case) -> bool:
    """The generic parser of the reference swallows what follows a call."""
    ours, theirs = case.ours, case.theirs
    text = ours.content[len(theirs.content) :]
    return (
        case.kind == "generic"
        and bool(ours.calls)
        and same(ours.calls, theirs.calls)
        and ours.content.startswith(theirs.content)
        and case.output.endswith(text)
        and not _TAG.search(text)
    )


def text_without_header(case: Case) -> bool:
    """Text outside of any message: the reference drops it."""
    ours, theirs = case.ours, case.theirs
    text = _inserted(ours.content, theirs.content) or ""
    return (
        case.kind == "harmony"
        and bool(text.strip())
        and text in case.output
        and not (set(_TAG.findall(text)) & {"<|message|>", "<|start|>", "<|channel|>"})
        and ours.thinking == theirs.thinking
        and same(ours.calls, theirs.calls)
    )


def _words(value: Any) -> set[str]:
    """All words in a value's texts."""
    if isinstance(value, str):
        return set(re.findall(r"\w+", value))
    if isinstance(value, dict):
        return _words(list(value)) | _words(list(value.values()))
    if isinstance(value, list | tuple | set):
        return {word for item in value for word in _words(item)}
    return _words(json.dumps(value))


def _lost(case: Case) -> set[str]:
    """Words of the reply outside tags that the reference lost; names of fields do not count."""
    fields = {"name", "arguments", "parameters", "call", "function", "type", "json"}
    said = {word for word in _words(_TAG.sub(" ", case.output)) - fields if not word.isdigit()}
    return said - _words([case.theirs.content, case.theirs.thinking, case.theirs.calls])


def cut_arguments(case: Case) -> bool:
    """The reference makes a call without arguments that it could not read; we read more, or give it all as text."""
    ours, theirs = case.ours, case.theirs
    if case.error or ours.thinking != theirs.thinking or not _lost(case):
        return False
    if len(ours.calls) == len(theirs.calls):
        return ours.content == theirs.content and bool(_lost(case) & _words(ours.calls))
    text = _inserted(ours.content, theirs.content) or ""
    careless = case.kind in ("laguna", "poolside-v1", "functiongemma")
    return careless and _is_call(text) and len(ours.calls) == len(theirs.calls) - 1


def cut_string(case: Case) -> bool:
    """The reply ends inside a string, and the reference makes a call of what there is; to us it is text."""
    text = _inserted(case.ours.content, case.theirs.content) or ""
    return (
        not case.error
        and _is_call(text)
        and case.output.endswith(text)
        and text.count('<|"|>') % 2 == 1
        and len(case.ours.calls) == len(case.theirs.calls) - 1
    )


def wrong_name(case: Case) -> bool:
    """The generic parser of the reference finds a tool's name inside an argument of a call of another."""
    text = _inserted(case.ours.content, case.theirs.content) or ""
    return (
        case.kind == "generic"
        and _is_call(text)
        and not case.ours.calls
        and len(case.theirs.calls) == 1
        and f'"name":"{case.theirs.calls[0][2]}"' not in case.output.replace(" ", "")
    )


def tag_in_value(case: Case) -> bool:
    """The reference ends a call at a closing tag inside a value, and gives the rest of the call as text."""
    ours, theirs = case.ours, case.theirs
    return (
        not case.error
        and len(ours.calls) == len(theirs.calls)
        and theirs.content.startswith(ours.content)
        and case.output.endswith(theirs.content[len(ours.content) :])
        and _words(theirs.calls) < _words(ours.calls)
    )


def read_call(case: Case) -> bool:
    """The reference gives a call as text, because it stands alone or after another one; we read it."""
    ours, theirs = case.ours, case.theirs
    text = _inserted(theirs.content, ours.content)
    return (
        not case.error
        and len(ours.calls) > len(theirs.calls)
        and _calls_contain(ours, theirs)
        and ours.thinking == theirs.thinking
        and text is not None
        and _words([call[2:] for call in ours.calls]) <= _words([text, theirs.calls])
    )


def _readings(text: str) -> tuple[str, ...]:
    """What a text is with its escapes read: all of them, or those of characters by number."""
    everything = text.encode("latin-1", "backslashreplace").decode("unicode-escape")
    plain = text.replace("<escape>", "").strip()
    numbers = re.sub(r"\\u([0-9a-f]{4})", lambda found: chr(int(found[1], 16)), text)
    return everything, numbers, plain


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
    if isinstance(theirs, str) and isinstance(ours, list | dict):
        return theirs[:1] in ("[", "{")
    if isinstance(theirs, int | float) and isinstance(ours, str) and not isinstance(theirs, bool):
        number = re.match(r"\s*[+-]?[0-9.]+", ours)
        return number is not None and float(number[0]) == theirs
    empty = theirs is None and ours in ([], {})
    return (
        empty or (ours is None and theirs == "null") or (theirs is False and isinstance(ours, str))
    )


def blanks_beside_calls(case: Case) -> bool:
    """The reference drops white space between a call and what follows, and joins words with it."""
    return (
        not case.error
        and bool(case.ours.calls)
        and same(case.ours.calls, case.theirs.calls)
        and _no_blanks(case.ours) == _no_blanks(case.theirs)
    )


def mangled_arguments(case: Case) -> bool:
    """The reference changes values: characters outside ASCII, escapes, lists, null, words for booleans, and texts
    that begin with a number."""
    ours, theirs = case.ours, case.theirs
    return (
        not case.error
        and (ours.content, ours.thinking) == (theirs.content, theirs.thinking)
        and [call[:3] for call in ours.calls] == [call[:3] for call in theirs.calls]
        and all(_mangled(a[3], b[3]) for a, b in zip(ours.calls, theirs.calls, strict=True))
    )


RULES: dict[str, Callable[[Case], bool]] = {
    rule.__name__.replace("_", " "): rule
    for rule in (
        kept_end, text_for_error, other_split, blanks_of_split, blanks_beside_calls, mangled_arguments, dropped_call,
        nameless_call, text_in_call, text_after_call, text_without_header, cut_arguments, cut_string,
        wrong_name, tag_in_value, read_call,
    )
}  # fmt: skip


def compare(
    kind: str, ours: Total, wanted: dict[str, Any], others: list[dict[str, Any]], output: str
) -> Verdict | None:
    """None when the totals are equal; else the rule that explains the difference, or none of them."""
    case = Case(
        kind, ours, to_total(wanted), wanted.get("error", ""), list(map(to_total, others)), output
    )
    if not case.error and equal(ours, case.theirs):
        return None
    text = f"ours {ours}, reference {case.theirs} {case.error}"
    rule = next((name for name, holds in RULES.items() if holds(case)), "")
    return Verdict(rule, text)
