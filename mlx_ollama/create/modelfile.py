"""A Modelfile's text to its commands (grammar: internals 4.6; `store/modelfile.py` prints them)."""

import codecs

from mlx_ollama.errors import InvalidRequest
from mlx_ollama.store.modelfile import Command, unquote

INSTRUCTIONS = [
    "from",
    "license",
    "template",
    "system",
    "adapter",
    "draft",
    "renderer",
    "parser",
    "parameter",
    "message",
    "requires",
]
ROLES = ("system", "user", "assistant")
_BLANKS, _NEWLINES = " \t", "\r\n"
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


class ModelfileError(InvalidRequest):
    """Its text is Ollama's, the line in front where it is known."""


def decode_modelfile(content: bytes) -> str:
    """UTF-8 or, with its byte order mark, UTF-16; what is neither becomes U+FFFD."""
    for mark, encoding in _MARKS.items():
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding, "replace")
    return content.decode("utf-8", "replace")


def parse_modelfile(text: str) -> list[Command]:
    """The commands in order; `ModelfileError`. There is at least one FROM."""
    commands = _Parser(text).commands()
    if not any(command.name == "model" for command in commands):
        raise ModelfileError("no FROM line")
    return commands


class _Parser:
    """A cursor over the text. Characters that cannot be printed are dropped from words and values."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def commands(self) -> list[Command]:
        found: list[Command] = []
        while self._skip_to_instruction():
            found.append(self._command())
        return found

    def _skip_to_instruction(self) -> bool:
        while self._at < len(self._text):
            character = self._text[self._at]
            if character == "#":
                self._skip_comment()
            elif character not in _BLANKS + _NEWLINES:
                return True
            else:
                self._at += 1
        return False

    def _skip_comment(self) -> None:
        while self._at < len(self._text) and self._text[self._at] not in _NEWLINES:
            self._at += 1

    def _command(self) -> Command:
        instruction = self._instruction()
        if instruction == "parameter":
            return Command(self._word("_0123456789"), self._value())
        if instruction == "message":
            role = self._role()
            return Command("message", f"{role}: {self._value()}")
        return Command("model" if instruction == "from" else instruction, self._value())

    def _instruction(self) -> str:
        """The word that begins a line, any first character let in; the blank after it is taken."""
        first = self._take()
        word = first if first.isprintable() else ""
        while _is_letter(character := self._take()):
            word += character
        if character in _BLANKS and word.lower() in INSTRUCTIONS:
            return word.lower()
        names = ", ".join(f'"{name}"' for name in INSTRUCTIONS[:-1])
        raise self._error(f'command must be one of {names}, or "{INSTRUCTIONS[-1]}"')

    def _word(self, more: str = "") -> str:
        """Letters (and `more`) up to a blank, which is taken; it may be empty."""
        word = ""
        while (character := self._take()) not in _BLANKS:
            if not _is_letter(character) and character not in more:
                raise ModelfileError(f"unexpected EOF: {word}")
            word += character
        return word

    def _role(self) -> str:
        role = self._word()
        if role not in ROLES:
            raise self._error('message role must be one of "system", "user", or "assistant"')
        return role

    def _value(self) -> str:
        """To the first end of line outside quotes. A blank after a closing quote opens the value again."""
        text = ""
        while self._at < len(self._text):
            character = self._text[self._at]
            self._at += 1
            if character in _NEWLINES:
                value = unquote(text.strip())
                if value is not None:
                    return value
            if character.isprintable() or character in _BLANKS + _NEWLINES:
                text += character
        value = unquote(text.strip())
        if value is None:
            raise ModelfileError("unexpected EOF")
        return value

    def _take(self) -> str:
        if self._at >= len(self._text):
            raise ModelfileError("unexpected EOF")
        self._at += 1
        return self._text[self._at - 1]

    def _error(self, message: str) -> ModelfileError:
        read = self._text[: self._at]
        line = 1 + sum(read.count(newline) for newline in _NEWLINES)
        return ModelfileError(f"(line {line}): {message}")


def _is_letter(character: str) -> bool:
    return character.isascii() and character.isalpha()
