"""What one rendering of an untrusted Jinja template may use, and what each operation is charged beforehand.

The bounds count, they do not measure time. `Budget` lives in a context variable, since one compiled template
serves many renderings. Everything that makes much of little is checked before it is done: operators, methods
of strings, formats, and containers that hold themselves many times over.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any

from jinja2 import Undefined
from jinja2.exceptions import SecurityError

MAX_STEPS = 1_000_000
MAX_TEXT = 4 << 20  # characters of one string, and of the prompt
MAX_MADE = 64 << 20  # characters made in all
MAX_WIDTH = 10_000
MAX_BITS = 4096  # of an integer
ITEM = 8  # characters that an item of a list counts for
CONTAINERS = (list, tuple, dict)
_PLAIN = (int, float, bool, type(None), Undefined)
_VIEWS = (type({}.keys()), type({}.values()), type({}.items()))
_PERCENT = re.compile(r"%(?:\([^)]*\))?[#0\-+ ]*([\d*]*)(?:\.([\d*]*))?")
_FIELD = re.compile(r"\{[^{}]*\}")


class Budget:
    """What a rendering has left."""

    def __init__(self, share: float = 1) -> None:
        self.steps = int(MAX_STEPS * share)
        self.made = int(MAX_MADE * share)

    def step(self, count: int = 1) -> None:
        self.steps -= count
        if self.steps < 0:
            raise SecurityError(f"template takes more than {MAX_STEPS} steps")

    def make(self, size: int) -> None:
        """Before `size` characters are made or looked through (items of lists count for several)."""
        self.made -= size
        if self.made < 0:
            raise SecurityError(f"template makes more than {MAX_MADE} characters of text")

    def text(self, size: int) -> None:
        """Before a string of `size` characters is made."""
        if size > MAX_TEXT:
            raise SecurityError(f"template makes a text of more than {MAX_TEXT} characters")
        self.make(size)

    def weigh(self, value: Any) -> int:
        """About how much text a value is, with all that is in it; refuses what is not data."""
        self.step(2)
        if isinstance(value, str):
            return len(value) + 4
        if isinstance(value, _PLAIN):
            return 32
        if isinstance(value, dict):
            return sum(self.weigh(key) + self.weigh(item) for key, item in value.items())
        if isinstance(value, (*CONTAINERS, *_VIEWS)):
            return sum(map(self.weigh, value)) + 4
        raise SecurityError("template prints something that is not text or data")


_current: ContextVar[Budget] = ContextVar("budget")


def with_budget(render: Callable[[], str], share: float = 1) -> str:
    """Runs a rendering on a budget of its own, or on a share of what one may use."""
    token = _current.set(Budget(share))
    try:
        return render()
    finally:
        _current.reset(token)


def budget() -> Budget:
    """The budget of this rendering; a fresh one for what is computed while compiling."""
    return _current.get(None) or Budget()


def size_of(value: Any) -> int:
    """What keeping a value costs."""
    if isinstance(value, str):
        return len(value)
    return len(value) * ITEM if isinstance(value, CONTAINERS) else 0


# ---- values


def counted(items: Iterable[Any]) -> Iterator[Any]:
    """The items of a loop, each a step."""
    current = budget()
    for item in items:
        current.step()
        yield item


def listed(value: Any) -> Any:
    """What comes item by item as a list: it can be measured, and each item was a step."""
    if hasattr(value, "__next__"):
        return list(counted(value))
    if isinstance(value, range):
        budget().step(len(value) >> 4)
    return value


def printable(value: Any) -> str:
    """A value as text; only data has one."""
    if isinstance(value, str):
        return value
    budget().text(budget().weigh(value))
    return str(value)


def joined(pieces: Iterable[Any]) -> str:
    """`~`, and the output of templates and macros."""
    texts: list[str] = []
    size = 0
    for piece in pieces:
        text = printable(piece)
        size += len(text)
        if size > MAX_TEXT:
            raise SecurityError(f"template makes a text of more than {MAX_TEXT} characters")
        texts.append(text)
    budget().make(size)
    return "".join(texts)


def copied(value: Any) -> Any:
    """What a slice is taken of."""
    budget().make(size_of(value))
    return value


def compared(value: Any) -> Any:
    """An operand of a comparison: looking through it costs."""
    if isinstance(value, str):
        if len(value) > 256:
            budget().step(len(value) >> 8)
    elif isinstance(value, CONTAINERS):
        budget().weigh(value)
    return value


# ---- operators


def check_operator(operator: str, left: Any, right: Any) -> None:
    """Before `left operator right` is computed."""
    if operator == "%":
        if isinstance(left, str):
            check_percent_format(left, right if isinstance(right, tuple) else (right,))
    elif isinstance(left, int) and isinstance(right, int):
        _check_integers(operator, left, right)
    elif operator == "+":
        budget().make(size_of(left) + size_of(right))
        if isinstance(left, str) and isinstance(right, str):
            budget().text(len(left) + len(right))
    elif operator == "*":
        _check_repeat(left, right)


def _check_integers(operator: str, left: int, right: int) -> None:
    bits = left.bit_length() + right.bit_length()
    if operator == "**":
        bits = left.bit_length() * max(right, 1)
    if bits > MAX_BITS:
        raise SecurityError("template makes too large a number")


def _check_repeat(left: Any, right: Any) -> None:
    for sequence, count in ((left, right), (right, left)):
        if isinstance(sequence, (str, *CONTAINERS)) and isinstance(count, int):
            budget().text(size_of(sequence) * max(count, 0))


# ---- formats


def check_percent_format(template: str, values: Iterable[Any]) -> None:
    """`template % values`: a width adds at most itself, and a value may be named more than once."""
    specs = _PERCENT.findall(template)
    _check_fields(template, values, [width for spec in specs for width in spec], len(specs))


def check_brace_format(template: str, values: Iterable[Any]) -> None:
    """`template.format(values)`; a width that is itself a field is refused."""
    if re.search(r"\{[^{}]*\{", template.replace("{{", "")):
        raise SecurityError("template uses too large a format")
    fields = _FIELD.findall(template)
    widths = [width for field in fields for width in re.findall(r"\d+", field)]
    _check_fields(template, values, widths, len(fields))


def _check_fields(template: str, values: Iterable[Any], widths: list[str], fields: int) -> None:
    if any("*" in width or len(width) > 4 for width in widths):
        raise SecurityError("template uses too large a format")
    padding = sum(int(width or 0) for width in widths)
    weight = sum(map(budget().weigh, values))
    budget().text(len(template) + padding + weight * max(fields, 1))


def width_of(width: Any) -> int:
    """A width or count that a filter is given."""
    if isinstance(width, int) and width > MAX_WIDTH:
        raise SecurityError("template uses too large a width")
    return max(width, 0) if isinstance(width, int) else 0


# ---- methods

_GROWING = {"center", "ljust", "rjust", "zfill", "expandtabs", "replace", "join", "format"}
_REFUSED = {"format_map", "translate", "maketrans", "to_bytes", "from_bytes", "encode"}
_CHEAP = {"startswith", "endswith"}


def check_method(owner: Any, name: str, arguments: list[Any]) -> None:
    """Before a method of a string, number or container is called."""
    if isinstance(owner, (bytes, int)) or name in _REFUSED:
        raise SecurityError(f"method {name} is not available in templates")
    if isinstance(owner, str):
        if name not in _CHEAP:
            budget().make(len(owner))
        if name in _GROWING:
            _check_growth(name, owner, arguments)
    elif name in ("count", "index"):
        budget().weigh(owner)


def _check_growth(name: str, text: str, arguments: list[Any]) -> None:
    if name == "format":
        check_brace_format(text, arguments)
    elif name == "join":
        check_join(arguments[0] if arguments else (), text)
    elif name == "replace":
        check_replace(text, *arguments[:2])
    else:
        repeats = text.count("\t") + 1 if name == "expandtabs" else 1
        budget().text(len(text) + width_of(arguments[0] if arguments else 8) * repeats)


def check_replace(text: Any, old: Any = "", new: Any = "", *_: Any) -> None:
    """Each place may become as long as the new text."""
    if isinstance(text, str) and isinstance(old, str):
        budget().text(len(text) + text.count(old) * size_of(new))


def check_join(items: Any, separator: Any = "", *_: Any) -> None:
    """All items, and a separator each."""
    if isinstance(items, (str, range, *CONTAINERS)):
        weight = len(items) * 8 if isinstance(items, range) else budget().weigh(items)
        budget().text(weight + size_of(separator) * len(items))


def check_indent(text: Any, width: Any = 4, *_: Any) -> None:
    """A pad each line."""
    pad = len(width) if isinstance(width, str) else width_of(width)
    if isinstance(text, str):
        budget().text(len(text) + pad * (len(text.splitlines()) + 1))
