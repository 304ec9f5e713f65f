"""JSON as Go's decoder and encoder see it: first value only, their tolerance, their error texts.

`parse` is the slow and forgiving way in; strict decoding comes first (`decoding.py`). The C scanner of the
standard library does the work; ours only finds the words for what is wrong.
"""

import json
import re
from typing import Any, Never

MAX_DEPTH = 10_000
MAX_VALUES = 500_000  # brackets and braces in one body: untyped values cost 24 times their text


class JSONError(ValueError):
    """A body that is no JSON; the message is Go's."""


class EmptyBody(JSONError):
    """Nothing, or only blanks."""

    def __init__(self) -> None:
        super().__init__("missing request body")


class GoFloat(float):
    """A number written with a point or an exponent, which Go refuses for an int."""

    literal: str


def _float(literal: str) -> GoFloat:
    number = GoFloat(literal)
    number.literal = literal
    return number


def _refuse_constant(name: str) -> Never:
    raise JSONError(f"invalid character '{name[0]}' looking for beginning of value")


_decoder = json.JSONDecoder(parse_float=_float, parse_constant=_refuse_constant)
_BLANK = " \t\r\n"
_SURROGATE = re.compile("[\ud800-\udfff]")


def check_size(body: bytes) -> None:
    """JSONError for a body whose values would cost far more memory than its text."""
    if len(body) > MAX_VALUES and body.count(b"[") + body.count(b"{") > MAX_VALUES:
        raise JSONError("too many values in one body")


def parse(body: bytes) -> Any:
    """The first JSON value of a body; lone surrogates and bytes that are no UTF-8 become U+FFFD."""
    text = body.decode("utf-8", "replace").lstrip(_BLANK)
    if not text:
        raise EmptyBody
    try:
        value, _ = _decoder.raw_decode(text)
    except RecursionError:
        raise JSONError("invalid character '[' exceeded max depth") from None
    except json.JSONDecodeError:
        raise JSONError(describe(body)) from None
    except JSONError:
        raise
    except ValueError:
        raise JSONError("number out of range") from None
    return _whole(value) if "\\u" in text else value


def _whole(value: Any) -> Any:
    """Without lone surrogates."""
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, dict):
        return {_SURROGATE.sub("\ufffd", key): _whole(item) for key, item in value.items()}
    return value


def plain(value: Any) -> Any:
    """Without the floats that remember how they were written."""
    if isinstance(value, float):
        return float(value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def compact(value: Any) -> bytes:
    """A parsed value as JSON again; floats as they were written."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


_ESCAPES = {
    b"<": b"\\u003c",
    b">": b"\\u003e",
    b"&": b"\\u0026",
    "\u2028".encode(): b"\\u2028",
    "\u2029".encode(): b"\\u2029",
}


def escape_html(text: bytes) -> bytes:
    """Encoded JSON as Go writes it: safe inside HTML and JavaScript."""
    for character, escaped in _ESCAPES.items():
        if character in text:
            text = text.replace(character, escaped)
    return text


def describe(body: bytes) -> str:
    """What Go's scanner says about a body that is no JSON."""
    return _Scanner(body).complaint()


_LITERALS = {ord("t"): b"true", ord("f"): b"false", ord("n"): b"null"}
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*')
_DIGITS = re.compile(rb"[0-9]*")
_SPACE = re.compile(rb"[ \t\r\n]*")
_HEX = frozenset(b"0123456789abcdefABCDEF")
_OPENING = {ord("{"): "object", ord("["): "array"}
_VALUE = "looking for beginning of value"


class _Scanner:
    """Walks over a body until something is wrong."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0
        self._open: list[str] = []

    def complaint(self) -> str:
        try:
            self._document()
        except JSONError as error:
            return str(error)
        return "invalid JSON"

    def _document(self) -> None:
        self._value()
        while self._open:
            if self._open[-1] == "object":
                self._after(b"}", "after object key:value pair")
            else:
                self._after(b"]", "after array element")

    def _after(self, closing: bytes, where: str) -> None:
        """What follows an element: the end of its container, or a comma and the next one."""
        found = self._next()
        if found == closing[0]:
            self._open.pop()
        elif found == ord(","):
            if closing == b"}":
                self._key()
            self._value()
        else:
            self._refuse(found, where)

    def _value(self) -> None:
        found = self._next()
        if found == ord('"'):
            self._string()
        elif found in _OPENING:
            self._open_container(found)
        elif found in _LITERALS:
            self._literal(_LITERALS[found])
        elif found == ord("-") or found in b"0123456789":
            self._number(found)
        else:
            self._refuse(found, _VALUE)

    def _open_container(self, found: int) -> None:
        if len(self._open) >= MAX_DEPTH:
            self._refuse(found, "exceeded max depth")
        self._open.append(_OPENING[found])
        if self._peek() == {ord("{"): ord("}"), ord("["): ord("]")}[found]:
            self._next()
            self._open.pop()
        elif found == ord("{"):
            self._key()
            self._value()
        else:
            self._value()

    def _key(self) -> None:
        found = self._next()
        if found != ord('"'):
            self._refuse(found, "looking for beginning of object key string")
        self._string()
        found = self._next()
        if found != ord(":"):
            self._refuse(found, "after object key")

    def _string(self) -> None:
        while True:
            self._skip(_PLAIN)
            found = self._take()
            if found == ord('"'):
                return
            if found != ord("\\"):
                self._refuse(found, "in string literal")
            self._escape()

    def _escape(self) -> None:
        found = self._take()
        if found not in b'bfnrt\\/"u':
            self._refuse(found, "in string escape code")
        for _ in range(4 if found == ord("u") else 0):
            digit = self._take()
            if digit not in _HEX:
                self._refuse(digit, "in \\u hexadecimal character escape")

    def _literal(self, word: bytes) -> None:
        for expected in word[1:]:
            found = self._take()
            if found != expected:
                self._refuse(found, f"in literal {word.decode()} (expecting {_shown(expected)})")

    def _number(self, found: int) -> None:
        if found == ord("-"):
            found = self._take()
            if found not in b"0123456789":
                self._refuse(found, "in numeric literal")
        if found != ord("0"):
            self._skip(_DIGITS)
        if self._here() == ord("."):
            self._take()
            self._digits("after decimal point in numeric literal")
        if self._here() in b"eE":
            self._take()
            if self._here() in b"+-":
                self._take()
            self._digits("in exponent of numeric literal")

    def _digits(self, where: str) -> None:
        found = self._take()
        if found not in b"0123456789":
            self._refuse(found, where)
        self._skip(_DIGITS)

    def _skip(self, pattern: re.Pattern[bytes]) -> None:
        match = pattern.match(self._body, self._at)
        assert match is not None
        self._at = match.end()

    def _here(self) -> int:
        """The byte at hand; a blank at the end, where a number may stop."""
        return self._body[self._at] if self._at < len(self._body) else ord(" ")

    def _peek(self) -> int | None:
        self._skip(_SPACE)
        return self._body[self._at] if self._at < len(self._body) else None

    def _next(self) -> int:
        self._skip(_SPACE)
        return self._take()

    def _take(self) -> int:
        if self._at >= len(self._body):
            raise JSONError("unexpected EOF")
        self._at += 1
        return self._body[self._at - 1]

    def _refuse(self, found: int, where: str) -> Never:
        raise JSONError(f"invalid character {_shown(found)} {where}")


def _shown(byte: int) -> str:
    """A byte in Go's quotes."""
    named = {ord("'"): "\\'", ord('"'): '"', ord("\\"): "\\\\"}
    named |= {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}
    if byte in named:
        return f"'{named[byte]}'"
    if chr(byte).isprintable():
        return f"'{chr(byte)}'"
    return f"'\\x{byte:02x}'" if byte < 0x80 else f"'\\u{byte:04x}'"
