"""Go's durations as text: integer nanoseconds, `1h30m`, and the exact error texts of its parser."""

import re
from decimal import Decimal

NANOSECOND = 1
SECOND = 1_000_000_000
FOREVER = 2**63 - 1  # what a negative keep-alive means

_UNITS = {
    "ns": NANOSECOND,
    "us": 1_000,
    "µs": 1_000,  # U+00B5
    "μs": 1_000,  # U+03BC
    "ms": 1_000_000,
    "s": SECOND,
    "m": 60 * SECOND,
    "h": 3600 * SECOND,
}
_NUMBER = re.compile(r"([0-9]*)(?:\.([0-9]*))?")
_UNIT = re.compile(r"[^0-9.]*")


class InvalidDuration(ValueError):
    """Text that is no duration; the message is Go's."""


def quote(text: str) -> str:
    """A Go string literal as its errors print it (`%q`, for the characters that requests really hold)."""
    body = "".join(_quoted(character) for character in text)
    return f'"{body}"'


def _quoted(character: str) -> str:
    named = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\a": "\\a"}
    named |= {"\b": "\\b", "\f": "\\f", "\v": "\\v"}
    if character in named:
        return named[character]
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def parse(text: str) -> int:
    """Nanoseconds of a Go duration (`"1h30m"`, `"-1.5s"`, `"0"`); raises `InvalidDuration`."""
    sign, rest = (text[:1], text[1:]) if text[:1] in ("-", "+") else ("", text)
    if rest == "0":
        return 0
    if not rest:
        raise _invalid(text)
    total = 0
    while rest:
        amount, rest = _component(text, rest)
        total += amount
    if total > FOREVER + (sign == "-"):
        raise _invalid(text)
    return -total if sign == "-" else total


def _component(text: str, rest: str) -> tuple[int, str]:
    number = _NUMBER.match(rest)
    assert number is not None
    whole, fraction = number.group(1), number.group(2) or ""
    if not whole and not fraction:
        raise _invalid(text)
    rest = rest[number.end() :]
    unit = _UNIT.match(rest)
    assert unit is not None
    if not unit.group():
        raise InvalidDuration(f"time: missing unit in duration {quote(text)}")
    if unit.group() not in _UNITS:
        raise InvalidDuration(f"time: unknown unit {quote(unit.group())} in duration {quote(text)}")
    amount = int(Decimal(f"{whole or 0}.{fraction or 0}") * _UNITS[unit.group()])
    return amount, rest[unit.end() :]


def _invalid(text: str) -> InvalidDuration:
    return InvalidDuration(f"time: invalid duration {quote(text)}")


def show(nanoseconds: int) -> str:
    """Go's `Duration.String`: `5m0s`, `1.5ms`, `0s`."""
    if nanoseconds == 0:
        return "0s"
    sign, amount = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    for unit, size in (("ns", 1_000), ("µs", 1_000_000), ("ms", SECOND)):
        if amount < size:
            return f"{sign}{_decimal(amount, _UNITS[unit])}{unit}"
    minutes, seconds = divmod(amount, 60 * SECOND)
    text = f"{_decimal(seconds, SECOND)}s"
    if minutes:
        hours, minutes = divmod(minutes, 60)
        text = f"{hours}h{minutes}m{text}" if hours else f"{minutes}m{text}"
    return sign + text


def _decimal(amount: int, unit: int) -> str:
    whole, fraction = divmod(amount, unit)
    digits = str(fraction).zfill(len(str(unit)) - 1).rstrip("0") if fraction else ""
    return f"{whole}.{digits}" if digits else str(whole)
