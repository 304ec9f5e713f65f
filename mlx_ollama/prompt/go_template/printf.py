"""The format strings of Go's Sprintf: flags, widths, argument indexes, and what Go says of mistakes."""

from collections.abc import Sequence

from mlx_ollama.prompt.go_template.formatting import Printer
from mlx_ollama.prompt.go_template.number_printer import Flags
from mlx_ollama.prompt.go_template.values import Kind, Value

_TOO_LARGE = 1_000_000  # Go takes no width or precision beyond


def sprintf(format_: str, arguments: Sequence[Value]) -> str:
    """`fmt.Sprintf`."""
    return _Formatter(format_, arguments).run()


class _Formatter:
    """`at` is where the format is read, `number` the next argument; `good` until an index is wrong."""

    def __init__(self, format_: str, arguments: Sequence[Value]) -> None:
        self._format = format_
        self._arguments = arguments
        self._printer = Printer()
        self._at = self._number = 0
        self._reordered = self._after_index = False
        self._good = True

    def run(self) -> str:
        while self._at < len(self._format):
            percent = self._format.find("%", self._at)
            end = len(self._format) if percent < 0 else percent
            self._printer.write(self._format[self._at : end])
            self._at = end + 1
            if percent >= 0:
                self._verb()
        if not self._reordered:
            self._extra()
        return self._printer.text

    def _peek(self) -> str:
        return self._format[self._at] if self._at < len(self._format) else ""

    def _verb(self) -> None:
        self._good = True
        self._after_index = False
        flags = self._printer.flags = Flags()
        self._read_flags(flags)
        self._argument_index()
        self._width(flags)
        self._precision(flags)
        if not self._after_index:
            self._argument_index()
        verb = self._peek()
        if not verb:
            self._at = len(self._format)
            return self._printer.write("%!(NOVERB)")
        self._at += 1
        return self._apply(verb, flags)

    def _apply(self, verb: str, flags: Flags) -> None:
        if verb == "%":
            return self._printer.write("%")
        if not self._good:
            return self._printer.write(f"%!{verb}(BADINDEX)")
        if self._number >= len(self._arguments):
            return self._printer.write(f"%!{verb}(MISSING)")
        if verb == "v":
            flags.sharp_v, flags.sharp = flags.sharp, False
            flags.plus_v, flags.plus = flags.plus, False
        self._number += 1
        return self._printer.argument(self._arguments[self._number - 1], verb)

    def _read_flags(self, flags: Flags) -> None:
        names = {"#": "sharp", "0": "zero", "+": "plus", "-": "minus", " ": "space"}
        while (character := self._peek()) and character in names:
            setattr(flags, names[character], True)
            self._at += 1

    def _width(self, flags: Flags) -> None:
        if self._peek() == "*":
            self._at += 1
            flags.width = self._number_argument()
            if flags.width is None:
                self._printer.write("%!(BADWIDTH)")
            elif flags.width < 0:
                flags.width, flags.minus, flags.zero = -flags.width, True, False
            self._after_index = False
            return
        flags.width = self._digits()
        if self._after_index and flags.width is not None:
            self._good = False

    def _precision(self, flags: Flags) -> None:
        if self._peek() != ".":
            return
        self._at += 1
        if self._after_index:
            self._good = False
        self._argument_index()
        if self._peek() != "*":
            flags.precision = self._digits() or 0
            return
        self._at += 1
        precision = self._number_argument()
        if precision is None or precision < 0:
            self._printer.write("%!(BADPREC)")
        else:
            flags.precision = precision
        self._after_index = False

    def _digits(self) -> int | None:
        start = self._at
        while self._peek() and self._peek() in "0123456789":
            self._at += 1
        if start == self._at:
            return None
        digits = self._format[start : self._at].lstrip("0")
        if len(digits) > 7 or int(digits or 0) > _TOO_LARGE:
            self._at = len(self._format)
            return None
        return int(digits or 0)

    def _number_argument(self) -> int | None:
        if self._number >= len(self._arguments):
            return None
        value = self._arguments[self._number]
        self._number += 1
        if value.kind not in (Kind.INT, Kind.UINT) or abs(value.data) > _TOO_LARGE:
            return None
        return value.data

    def _argument_index(self) -> None:
        self._after_index = False
        if self._peek() != "[":
            return
        self._reordered = True
        close = self._format.find("]", self._at)
        if close < 0:
            self._at += 1
            self._good = False
            return
        index = self._format[self._at + 1 : close]
        self._at = close + 1
        valid = index.isascii() and index.isdigit() and len(index) < 8
        self._after_index = valid
        if valid and 0 < int(index) <= len(self._arguments):
            self._number = int(index) - 1
        else:
            self._good = False

    def _extra(self) -> None:
        rest = self._arguments[self._number :]
        if not rest:
            return
        printer = self._printer
        printer.flags = Flags()
        printer.write("%!(EXTRA ")
        for index, argument in enumerate(rest):
            if index:
                printer.write(", ")
            if argument.type is None:
                printer.write("<nil>")
            else:
                printer.write(f"{argument.type.name}=")
                printer.argument(argument, "v")
        printer.write(")")
