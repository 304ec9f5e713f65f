"""Go's fmt: Sprint, Sprintln and Sprintf over `Value`s. Source: the documentation of package fmt.

`Printer` holds the text so far and the flags of the verb at hand; its length is bounded.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mlx_ollama.prompt.conversation import TemplateError
from mlx_ollama.prompt.go_strconv import encode, format_float, quote, quote_rune
from mlx_ollama.prompt.go_template.values import (
    INVALID,
    Kind,
    Value,
    elements,
    of,
    sorted_entries,
)

MAX_TEXT = 4 << 20  # characters one call may make
_STRING_VERBS = "vsxXq"


def sprint(arguments: Sequence[Value]) -> str:
    """Blanks stand only between two operands of which neither is a string."""
    printer = Printer()
    after_string = True
    for argument in arguments:
        is_string = argument.type is not None and argument.type.name == "string"
        if not is_string and not after_string:
            printer.write(" ")
        printer.argument(argument, "v")
        after_string = is_string
    return printer.text


def sprintln(arguments: Sequence[Value]) -> str:
    """Blanks between all operands, and a newline."""
    printer = Printer()
    for index, argument in enumerate(arguments):
        if index:
            printer.write(" ")
        printer.argument(argument, "v")
    printer.write("\n")
    return printer.text


def format_value(data: Any, verb: str = "v") -> str:
    """`%v` (or another verb) of plain Python data or of a Value."""
    printer = Printer()
    printer.argument(of(data), verb)
    return printer.text


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


class Printer:
    """`subject` is the value a wrong verb reports; `erroring` while it does so, when methods are not called."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._length = 0
        self.flags = Flags()
        self._subject = INVALID
        self._erroring = False

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

    # ---- values

    def argument(self, value: Value, verb: str) -> None:
        """An operand of a call (`printArg`)."""
        self._subject = value
        if value.type is None:
            if verb in "Tv":
                self.pad("<nil>")
            else:
                self._bad_verb(verb)
        elif verb == "T":
            self._string(value.type.name, "s")
        elif value.type.name == "[]uint8":
            self._bytes(value, verb)
        elif not self._methods(verb):
            self._value(value, verb, 0)

    def _bad_verb(self, verb: str) -> None:
        self._erroring = True
        subject = self._subject
        self.write(f"%!{verb}(")
        if subject.type is None:
            self.write("<nil>")
        else:
            self.write(f"{subject.type.name}=")
            self.argument(subject, "v")
        self.write(")")
        self._erroring = False

    def _methods(self, verb: str) -> bool:
        """Whether the subject's own String method, or the refusal of %w, has printed it."""
        type_ = self._subject.type
        if self._erroring or type_ is None:
            return False
        if verb == "w":
            self._bad_verb(verb)
            return True
        if self.flags.sharp_v or verb not in _STRING_VERBS or type_.show is None:
            return False
        self._string(type_.show(self._subject.data), verb)
        return True

    def _value(self, value: Value, verb: str, depth: int) -> None:
        if depth > 0 and value.type is not None:
            self._subject = value.data if value.kind is Kind.INTERFACE and value.data else value
            if value.kind is not Kind.INTERFACE and self._methods(verb):
                return
        match value.kind:
            case Kind.BOOL:
                self._boolean(value.data, verb)
            case Kind.INT | Kind.UINT:
                self._integer(value.data, verb, unsigned=value.kind is Kind.UINT)
            case Kind.FLOAT:
                self._float(value.data, verb)
            case Kind.COMPLEX:
                self._complex(value.data, verb)
            case Kind.STRING:
                self._string(value.data, verb)
            case _:
                self._composite(value, verb, depth)

    def _composite(self, value: Value, verb: str, depth: int) -> None:
        match value.kind:
            case Kind.MAP:
                self._map(value, verb, depth)
            case Kind.STRUCT:
                self._struct(value, verb, depth)
            case Kind.SLICE:
                self._slice(value, verb, depth)
            case Kind.INTERFACE if value.data is not None:
                self._value(value.data, verb, depth + 1)
            case Kind.INTERFACE:
                self.write("interface {}(nil)" if self.flags.sharp_v else "<nil>")
            case Kind.POINTER:
                self._pointer(value, verb, depth)
            case _:
                self.write("<nil>")

    def _pointer(self, value: Value, verb: str, depth: int) -> None:
        if value.data is None:
            self.write("<nil>")
        elif depth == 0 and value.data.kind in (Kind.SLICE, Kind.STRUCT, Kind.MAP):
            self.write("&")
            self._value(value.data, verb, depth + 1)
        else:
            self.write("0xc000000000")  # Go prints an address

    def _joined(self, values: Iterable[Value], verb: str, depth: int) -> None:
        separator = ", " if self.flags.sharp_v else " "
        for index, value in enumerate(values):
            if index:
                self.write(separator)
            self._value(value, verb, depth + 1)

    def _nil_container(self, value: Value) -> bool:
        if self.flags.sharp_v and value.type is not None:
            self.write(value.type.name)
            if value.data is None:
                self.write("(nil)")
                return True
        return False

    def _slice(self, value: Value, verb: str, depth: int) -> None:
        type_ = value.type
        if verb in "sqxX" and type_ and type_.element and type_.element.name == "uint8":
            return self._bytes(value, verb)
        if self._nil_container(value):
            return None
        self.write("{" if self.flags.sharp_v else "[")
        self._joined(elements(value), verb, depth)
        return self.write("}" if self.flags.sharp_v else "]")

    def _map(self, value: Value, verb: str, depth: int) -> None:
        if self._nil_container(value):
            return
        self.write("{" if self.flags.sharp_v else "map[")
        for index, (key, entry) in enumerate(sorted_entries(value)):
            if index:
                self.write(", " if self.flags.sharp_v else " ")
            self._value(key, verb, depth + 1)
            self.write(":")
            self._value(entry, verb, depth + 1)
        self.write("}" if self.flags.sharp_v else "]")

    def _struct(self, value: Value, verb: str, depth: int) -> None:
        if value.type is None:
            return
        if self.flags.sharp_v:
            self.write(value.type.name)
        self.write("{")
        for index, (name, type_) in enumerate(value.type.fields.items()):
            if index:
                self.write(", " if self.flags.sharp_v else " ")
            if self.flags.plus_v or self.flags.sharp_v:
                self.write(f"{name}:")
            member = value.data[name]
            if type_.kind is Kind.INTERFACE and member is not None:
                self._value(of(member), verb, depth + 1)
            else:
                self._value(Value(type_, member), verb, depth + 1)
        self.write("}")

    # ---- kinds

    def _boolean(self, value: bool, verb: str) -> None:
        if verb in "tv":
            self.pad("true" if value else "false")
        else:
            self._bad_verb(verb)

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

    def _string(self, text: str, verb: str) -> None:
        if verb == "s" or (verb == "v" and not self.flags.sharp_v):
            self.pad(text[: self.flags.precision])
        elif verb in "vq":
            self.pad(self._quoted(text[: self.flags.precision]))
        elif verb in "xX":
            self._hexadecimal(encode(text), verb)
        else:
            self._bad_verb(verb)

    def _quoted(self, text: str) -> str:
        if self.flags.sharp and all(map(_fits_back_quotes, text)):
            return f"`{text}`"
        return quote(text, ascii_only=self.flags.plus)

    def _hexadecimal(self, data: bytes, verb: str) -> None:
        flags = self.flags
        pairs = [f"{byte:02x}" for byte in data[: flags.precision]]
        prefix = "0x" if flags.sharp and pairs else ""
        if flags.space:
            text = " ".join(prefix + pair for pair in pairs)
        else:
            text = prefix + "".join(pairs)
        self.pad(text.upper() if verb == "X" else text)

    def _bytes(self, value: Value, verb: str) -> None:
        data = bytes(value.data or b"")
        if verb in "vd":
            self._byte_list(value, data)
        elif verb == "s":
            self.pad(data.decode("utf-8", "surrogateescape")[: self.flags.precision])
        elif verb in "xX":
            self._hexadecimal(data, verb)
        elif verb == "q":
            self.pad(self._quoted(data.decode("utf-8", "surrogateescape")))
        else:
            self._value(value, verb, 0)

    def _byte_list(self, value: Value, data: bytes) -> None:
        if self._nil_container(value):
            return
        sharp = self.flags.sharp_v
        self.write("{" if sharp else "[")
        for index, byte in enumerate(data):
            if index:
                self.write(", " if sharp else " ")
            self._integer(byte, "v", unsigned=True)
        self.write("}" if sharp else "]")


def _fits_back_quotes(character: str) -> bool:
    if character < " ":
        return character == "\t"
    return character not in "`\x7f\ufeff" and not "\ud800" <= character <= "\udfff"


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
