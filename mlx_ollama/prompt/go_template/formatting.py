"""Go's fmt: Sprint, Sprintln and Sprintf over `Value`s. Source: the documentation of package fmt."""

from collections.abc import Iterable, Sequence
from typing import Any

from mlx_ollama.prompt.go_strconv import encode, quote
from mlx_ollama.prompt.go_template.number_printer import NumberPrinter
from mlx_ollama.prompt.go_template.values import (
    INVALID,
    Kind,
    Value,
    elements,
    of,
    sorted_entries,
)

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


class Printer(NumberPrinter):
    """`subject` is the value a wrong verb reports; `erroring` while it does so, when methods are not called."""

    def __init__(self) -> None:
        super().__init__()
        self._subject = INVALID
        self._erroring = False

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
