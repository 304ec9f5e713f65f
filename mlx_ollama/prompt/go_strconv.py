"""Go's spelling of numbers and quoted strings (package strconv), as templates and JSON show it.

A Go string may hold any bytes. Here it is a `str` in which a byte that is no UTF-8 is a lone surrogate
(`surrogateescape`), so that a string cut inside a character stays exact until it is printed.
"""

import math
import re

ESCAPES = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
}
_SHORT = {value: "\\" + key for key, value in ESCAPES.items()}
_HEX_WIDTH = {"x": 2, "u": 4, "U": 8}


def encode(text: str) -> bytes:
    """The bytes of a Go string."""
    return text.encode("utf-8", "surrogateescape")


def decode(data: bytes) -> str:
    """Bytes as a Go string."""
    return data.decode("utf-8", "surrogateescape")


def well_formed(text: str) -> str:
    """The string with U+FFFD for every byte that is no UTF-8, halves that meet put together."""
    if text.isascii():
        return text
    return "".join(
        "\ufffd" if "\udc80" <= character <= "\udcff" else character
        for character in decode(encode(text))
    )


# ---- floats


def format_float(number: float, style: str = "g", precision: int = -1) -> str:
    """`strconv.FormatFloat(number, style, precision, 64)` for the styles b e E f F g G x X; -1: shortest."""
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "+Inf" if number > 0 else "-Inf"
    if style in "xX":
        return _hexadecimal(number, style, precision)
    if style == "b":
        return _binary(number)
    if style == "F":
        style = "f"
    if precision < 0:
        return _shortest(number, style)
    text = f"{number:.{precision}{style}}"
    return text if style in "fF" else _two_digit_exponent(text)


def _digits(number: float) -> tuple[str, str, int]:
    """Sign, shortest decimal digits and the position of the point: 0.d1d2… times ten to that power."""
    sign = "-" if math.copysign(1, number) < 0 else ""
    if number == 0:
        return sign, "0", 1
    mantissa, exponent = f"{abs(number)!r}e0".split("e")[:2]
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent)
    if not whole.strip("0"):
        point = int(exponent) - (len(fraction) - len(fraction.lstrip("0")))
    return sign, digits.rstrip("0") or "0", point


def _shortest(number: float, style: str) -> str:
    sign, digits, point = _digits(number)
    exponent = 0 if number == 0 else point - 1
    scientific = style in "eE" or (style in "gG" and not -4 <= exponent < 6)
    if scientific:
        letter = "E" if style in "EG" else "e"
        tail = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{tail}{letter}{exponent:+03d}"
    return sign + _positional(digits, point)


def _positional(digits: str, point: int) -> str:
    if point <= 0:
        return "0" if digits == "0" else "0." + "0" * -point + digits
    if len(digits) <= point:
        return digits + "0" * (point - len(digits))
    return f"{digits[:point]}.{digits[point:]}"


def _two_digit_exponent(text: str) -> str:
    return re.sub(r"([eE][+-])(\d)$", r"\g<1>0\2", text)


def _hexadecimal(number: float, style: str, precision: int) -> str:
    if number == 0:
        mantissa, exponent = 0, 0
    else:
        fraction, power = math.frexp(abs(number))
        mantissa, exponent = int(fraction * (1 << 53)), power - 1
    digits = f"{mantissa & ((1 << 52) - 1):013x}"
    lead = "1" if mantissa else "0"
    if 0 <= precision < 13:
        scaled = round((int(lead) << 52 | int(digits, 16)) / (1 << (52 - 4 * precision)))
        lead, digits = "1" if mantissa else "0", f"{scaled & ((1 << 4 * precision) - 1):x}"
        digits = digits.rjust(precision, "0") if precision else ""
        exponent += scaled >> (4 * precision) > 1
    digits = digits.ljust(precision, "0") if precision >= 0 else digits.rstrip("0")
    sign = "-" if math.copysign(1, number) < 0 else ""
    text = f"{sign}0x{lead}{'.' if digits else ''}{digits}p{exponent:+03d}"
    return text.upper() if style == "X" else text


def _binary(number: float) -> str:
    fraction, power = math.frexp(abs(number))
    mantissa = int(fraction * (1 << 53))
    sign = "-" if math.copysign(1, number) < 0 else ""
    return f"{sign}{mantissa}p{power - 53:+d}"


# ---- integers

_INTEGER = re.compile(
    r"[+-]?(?:0[xX](?:_?[0-9a-fA-F])+|0[bB](?:_?[01])+|0[oO](?:_?[0-7])+|0(?:_?[0-7])*|[1-9](?:_?[0-9])*)"
)
_DECIMAL = re.compile(
    r"[+-]?(?:[0-9](?:_?[0-9])*\.?(?:[0-9](?:_?[0-9])*)?|\.[0-9](?:_?[0-9])*)(?:[eE][+-]?[0-9](?:_?[0-9])*)?"
)
_HEX_FLOAT = re.compile(r"[+-]?0[xX](?:_?[0-9a-fA-F])*\.?[0-9a-fA-F_]*[pP][+-]?[0-9]+")


def parse_integer(text: str) -> int | None:
    """`strconv.ParseInt(text, 0, …)` without a size: prefixes and underscores as in Go source."""
    if not _INTEGER.fullmatch(text):
        return None
    sign = -1 if text[0] == "-" else 1
    digits = text.lstrip("+-").replace("_", "")
    if len(digits) > 80:
        return None
    prefix = digits[:2].lower()
    base = {"0x": 16, "0b": 2, "0o": 8}.get(prefix, 8 if digits[0] == "0" else 10)
    return sign * int(digits[2:] if prefix in ("0x", "0b", "0o") else digits, base)


def parse_float(text: str) -> float | None:
    """`strconv.ParseFloat(text, 64)` for number literals; None where Go reports an error."""
    plain = text.replace("_", "")
    if _HEX_FLOAT.fullmatch(text):
        try:
            return float.fromhex(plain)
        except (ValueError, OverflowError):
            return None
    if not _DECIMAL.fullmatch(text):
        return None
    number = float(plain)
    return None if math.isinf(number) else number


# ---- quoted strings


def quote_rune(character: str, quotation: str = '"', *, ascii_only: bool = False) -> str:
    """One character as it stands inside Go quotation marks."""
    if character in (quotation, "\\"):
        return "\\" + character
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    if character.isprintable() and (character.isascii() or not ascii_only):
        return character
    return _SHORT.get(character) or _numeric_escape(ord(character))


def _numeric_escape(code: int) -> str:
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def quote(text: str, *, ascii_only: bool = False) -> str:
    """`strconv.Quote`."""
    return '"' + "".join(quote_rune(c, ascii_only=ascii_only) for c in text) + '"'


def unquote_rune(text: str, at: int, quotation: str) -> tuple[str, int] | None:
    """The character that begins at `at` and where the next begins; None: not valid."""
    character = text[at]
    if character == quotation:
        return None
    if character != "\\":
        return character, at + 1
    if at + 1 >= len(text):
        return None
    kind = text[at + 1]
    if kind in _HEX_WIDTH:
        return _numbered_rune(text, at + 2, _HEX_WIDTH[kind], 16, as_byte=kind == "x")
    if kind in "01234567":
        return _numbered_rune(text, at + 1, 3, 8, as_byte=True)
    if kind == quotation:
        return kind, at + 2
    return (ESCAPES[kind], at + 2) if kind in ESCAPES else None


def _numbered_rune(
    text: str, at: int, width: int, base: int, *, as_byte: bool
) -> tuple[str, int] | None:
    digits = text[at : at + width]
    allowed = "01234567" if base == 8 else "0123456789abcdefABCDEF"
    if len(digits) < width or any(digit not in allowed for digit in digits):
        return None
    code = int(digits, base)
    if as_byte:
        if code > 255:
            return None
        return (chr(code) if code < 128 else chr(0xDC00 + code)), at + width
    if code > 0x10FFFF or 0xD800 <= code < 0xE000:
        return None
    return chr(code), at + width


def unquote(text: str) -> str | None:
    """`strconv.Unquote` of a string in double or back quotes; None: not valid."""
    quotation, body = text[0], text[1:-1]
    if len(text) < 2 or text[-1] != quotation:
        return None
    if quotation == "`":
        return None if "`" in body else body.replace("\r", "")
    if "\n" in body:
        return None
    pieces: list[str] = []
    at = 0
    while at < len(body):
        rune = unquote_rune(body, at, quotation)
        if rune is None:
            return None
        pieces.append(rune[0])
        at = rune[1]
    return decode(encode("".join(pieces)))
