"""Go's fmt, the lower half: flags, padding, and numbers."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from mlx_ollama.prompt.conversation import TemplateError
from mlx_ollama.prompt.go_strconv import format_float, quote_rune

MAX_TEXT = 4 << 20  # characters one call may make


@dataclass
class Flags:
    """Of one verb; width and precision None where absent."""

    width: int | None = None
    precision: int | None = None
    minus: bool = False
    plus: bool = False
    sharp: bool = False
    space: bool = False
    zero: bool = False
    plus_v: bool = False
    sharp_v: bool = False


class NumberPrinter(ABC):
    """The text so far and the flags of the verb at hand; the text's length is bounded."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._length = 0
        self.flags = Flags()

    @abstractmethod
    def _bad_verb(self, verb: str) -> None:
        """Tell that the verb does not fit the value at hand."""

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    def write(self, text: str) -> None:
        self._length += len(text)
        if self._length > MAX_TEXT:
            raise TemplateError(f"formatted text is longer than {MAX_TEXT} characters")
        self._pieces.append(text)

    # ---- padding

    def pad(self, text: str, *, zero: bool | None = None) -> None:
        flags = self.flags
        missing = (flags.width or 0) - len(text)
        if missing > 0:
            blank = "0" if (flags.zero if zero is None else zero) and not flags.minus else " "
            text = text + " " * missing if flags.minus else blank * missing + text
        self.write(text)

    # ---- numbers

    def _integer(self, value: int, verb: str, *, unsigned: bool = False) -> None:
        bases = {"v": 10, "d": 10, "b": 2, "o": 8, "O": 8, "x": 16, "X": 16}
        if verb == "v" and self.flags.sharp_v and unsigned:
            self.write(f"0x{value:x}")
        elif verb in bases:
            self._digits(value, bases[verb], verb)
        elif verb == "c":
            self.pad(_rune(value))
        elif verb == "q":
            rune = _rune(value)
            self.pad(f"'{quote_rune(rune, chr(39), ascii_only=self.flags.plus)}'")
        elif verb == "U":
            self._unicode(value)
        else:
            self._bad_verb(verb)

    def _digits(self, value: int, base: int, verb: str) -> None:
        flags = self.flags
        if flags.precision == 0 and value == 0:
            return self.write(" " * (flags.width or 0))
        least = flags.precision or 0
        signed = value < 0 or flags.plus or flags.space
        if flags.precision is None and flags.zero and not flags.minus and flags.width:
            least = flags.width - signed
        digits = format(abs(value), {2: "b", 8: "o", 10: "d", 16: "x"}[base]).rjust(least, "0")
        digits = self._prefix(base, digits) + digits
        if verb == "O":
            digits = "0o" + digits
        if verb == "X":
            digits = digits.upper()
        sign = "-" if value < 0 else "+" if flags.plus else " " if flags.space else ""
        return self.pad(sign + digits, zero=False)

    def _prefix(self, base: int, digits: str) -> str:
        if not self.flags.sharp or (base == 8 and digits.startswith("0")):
            return ""
        return {2: "0b", 8: "0", 16: "0x"}.get(base, "")

    def _unicode(self, value: int) -> None:
        code = value & 0xFFFFFFFFFFFFFFFF
        text = f"U+{code:0{max(self.flags.precision or 4, 4)}X}"
        if self.flags.sharp and code <= 0x10FFFF and chr(code).isprintable():
            text += f" '{chr(code)}'"
        self.pad(text, zero=False)

    def _float(self, value: float, verb: str) -> None:
        if verb in "vbgGxX":
            self._float_digits(value, "g" if verb == "v" else verb, -1)
        elif verb in "feEF":
            self._float_digits(value, verb, 6)
        else:
            self._bad_verb(verb)

    def _float_digits(self, value: float, style: str, precision: int) -> None:
        flags = self.flags
        if flags.precision is not None:
            precision = flags.precision
        text = format_float(value, style, precision)
        sign, digits = (text[0], text[1:]) if text[0] in "+-" else ("+", text)
        if flags.space and sign == "+" and not flags.plus:
            sign = " "
        if digits in ("Inf", "NaN"):
            bare = digits == "NaN" and not flags.space and not flags.plus
            return self.pad(digits if bare else sign + digits, zero=False)
        if flags.sharp and style != "b":
            digits = _with_point(digits, style, precision)
        if not flags.plus and sign == "+":
            return self.pad(digits)
        if flags.zero and not flags.minus and (flags.width or 0) > len(digits) + 1:
            return self.write(sign + digits.rjust((flags.width or 0) - 1, "0"))
        return self.pad(sign + digits)

    def _complex(self, value: complex, verb: str) -> None:
        if verb not in "vbgGxXfFeE":
            return self._bad_verb(verb)
        plus = self.flags.plus
        self.write("(")
        self._float(value.real, verb)
        self.flags.plus = True
        self._float(value.imag, verb)
        self.write("i)")
        self.flags.plus = plus
        return None


def _rune(value: int) -> str:
    if not 0 <= value <= 0x10FFFF or 0xD800 <= value < 0xE000:
        return "\ufffd"
    return chr(value)


def _with_point(digits: str, style: str, precision: int) -> str:
    """The `#` flag: always a point, and for %g the trailing zeros that precision asks for."""
    mantissa, letter, exponent = digits, "", ""
    for mark in "eEpP":
        if mark in digits and not (mark in "eE" and style in "xX"):
            mantissa, letter, exponent = (
                *digits.partition(mark)[:1],
                mark,
                digits.partition(mark)[2],
            )
    wanted = 6 if precision < 0 else precision
    missing = wanted - len(mantissa.replace(".", "").lstrip("0")) if style in "gGx" else 0
    if "." not in mantissa:
        mantissa += "."
    return mantissa + "0" * max(missing, 0) + letter + exponent
