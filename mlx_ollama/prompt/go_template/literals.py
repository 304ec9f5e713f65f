"""Number and character constants. Source: the rules of Go's text/template for untyped constants."""

import re

from mlx_ollama.prompt.go_strconv import (
    encode,
    parse_float,
    parse_integer,
    quote,
    unquote_rune,
)
from mlx_ollama.prompt.go_template.lexer import Kind, Token
from mlx_ollama.prompt.go_template.nodes import NumberNode

INT_MIN, INT_MAX, UINT_MAX = -(1 << 63), (1 << 63) - 1, (1 << 64) - 1
_COMPLEX = re.compile(r"(.*[^eEpP])([+-].*)i")


def number_node(token: Token) -> NumberNode:
    """The node of a constant; raises ValueError with Go's text."""
    text = token.value
    if token.kind is Kind.CHAR_CONSTANT:
        return NumberNode(token.position, text, _character(text))
    if token.kind is Kind.COMPLEX:
        return NumberNode(token.position, text, _complex(text))
    return NumberNode(token.position, text, _number(text))


def _character(text: str) -> int:
    rune = unquote_rune(text, 1, "'")
    if rune is None:
        raise ValueError("invalid syntax")
    character, after = rune
    if text[after:] != "'":
        raise ValueError(f"malformed character constant: {text}")
    return encode(character)[0] if "\udc80" <= character <= "\udcff" else ord(character)


def _complex(text: str) -> complex:
    match = _COMPLEX.fullmatch(text)
    parts = [parse_float(part) for part in match.groups()] if match else [None]
    if None in parts or len(parts) != 2:
        raise ValueError(f"illegal number syntax: {quote(text)}")
    return complex(parts[0] or 0.0, parts[1] or 0.0)


def _number(text: str) -> int | float | complex | None:
    if text.endswith("i"):
        imaginary = parse_float(text[:-1])
        if imaginary is not None:
            return complex(0, imaginary)
    integer = parse_integer(text)
    if integer is not None and INT_MIN <= integer <= INT_MAX:
        return integer
    if integer is not None and 0 < integer <= UINT_MAX and text[0] != "+":
        return None
    number = parse_float(text)
    if number is None:
        raise ValueError(f"illegal number syntax: {quote(text)}")
    if not any(character in ".eEpP" for character in text):
        raise ValueError(f"integer overflow: {quote(text)}")
    return number
