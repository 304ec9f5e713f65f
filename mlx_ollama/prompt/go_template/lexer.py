"""Template text to tokens. Source: the grammar of Go's text/template/parse."""

from enum import Enum, auto
from typing import NamedTuple

from mlx_ollama.prompt.go_strconv import quote


class Kind(Enum):
    ERROR = auto()
    EOF = auto()
    TEXT = auto()
    LEFT_DELIM = auto()
    RIGHT_DELIM = auto()
    SPACE = auto()
    ASSIGN = auto()
    DECLARE = auto()
    PIPE = auto()
    CHAR = auto()
    CHAR_CONSTANT = auto()
    COMPLEX = auto()
    NUMBER = auto()
    BOOL = auto()
    FIELD = auto()
    IDENTIFIER = auto()
    VARIABLE = auto()
    STRING = auto()
    RAW_STRING = auto()
    LEFT_PAREN = auto()
    RIGHT_PAREN = auto()
    DOT = auto()
    NIL = auto()
    BLOCK = auto()
    BREAK = auto()
    CONTINUE = auto()
    DEFINE = auto()
    ELSE = auto()
    END = auto()
    IF = auto()
    RANGE = auto()
    TEMPLATE = auto()
    WITH = auto()


KEYWORDS = {
    kind.name.lower(): kind
    for kind in (
        Kind.NIL, Kind.BLOCK, Kind.BREAK, Kind.CONTINUE, Kind.DEFINE, Kind.ELSE, Kind.END,
        Kind.IF, Kind.RANGE, Kind.TEMPLATE, Kind.WITH,
    )
}  # fmt: skip
_SHOWN_BARE = {*KEYWORDS.values(), Kind.DOT}
SPACES = " \t\r\n"  # the only ones that trimming and the grammar know
_TERMINATORS = SPACES + ".,|:)("


class Token(NamedTuple):
    """`position` counts characters, `line` from 1."""

    kind: Kind
    position: int
    value: str
    line: int

    def __str__(self) -> str:
        if self.kind is Kind.EOF:
            return "EOF"
        if self.kind is Kind.ERROR:
            return self.value
        if self.kind in _SHOWN_BARE:
            return f"<{self.value}>"
        if len(self.value.encode("utf-8", "surrogateescape")) > 10:
            return quote(self.value[:10]) + "..."
        return quote(self.value)


class _Stop(Exception):
    """The token that ends the list early: an error."""


def tokenize(text: str) -> list[Token]:
    """All tokens; the last is EOF, or ERROR with the reason as its value."""
    return _Lexer(text).run()


def is_word(character: str) -> bool:
    """Letter, digit or underscore, as Go's lexer sees it."""
    return character == "_" or character.isalpha() or character.isdecimal()


class _Lexer:
    """`start` is where the token at hand begins, `at` where reading goes on; `line` belongs to `start`."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[Token] = []
        self._start = self._at = 0
        self._line = 1
        self._parens = 0

    def run(self) -> list[Token]:
        try:
            while self._outside():
                while self._inside():
                    pass
        except _Stop:
            pass
        return self._tokens

    # ---- the machinery

    def _emit(self, kind: Kind) -> None:
        value = self._text[self._start : self._at]
        self._tokens.append(Token(kind, self._start, value, self._line))
        self._skip()

    def _skip(self) -> None:
        self._line += self._text.count("\n", self._start, self._at)
        self._start = self._at

    def _fail(self, message: str) -> _Stop:
        self._tokens.append(Token(Kind.ERROR, self._start, message, self._line))
        return _Stop(message)

    def _peek(self) -> str:
        return self._text[self._at] if self._at < len(self._text) else ""

    def _accept(self, characters: str) -> bool:
        character = self._peek()
        if character and character in characters:
            self._at += 1
            return True
        return False

    def _accept_run(self, characters: str) -> None:
        while self._accept(characters):
            pass

    # ---- text and comments

    def _outside(self) -> bool:
        """Text and comments up to the next action; True when an action follows."""
        while (found := self._text.find("{{", self._at)) >= 0:
            self._at = found
            if self._trims_left(found + 2):
                self._at = self._start + len(self._text[self._start : found].rstrip(SPACES))
            if self._at > self._start:
                self._emit(Kind.TEXT)
            self._at = found
            self._skip()
            if self._left_delimiter():
                return True
        self._at = len(self._text)
        if self._at > self._start:
            self._emit(Kind.TEXT)
        self._tokens.append(Token(Kind.EOF, self._at, "", self._line))
        return False

    def _trims_left(self, at: int) -> bool:
        return self._text[at : at + 1] == "-" and self._text[at + 1 : at + 2] in tuple(SPACES)

    def _left_delimiter(self) -> bool:
        """Whether it opens an action rather than a comment, which is passed over."""
        self._at += 2
        marker = 2 if self._trims_left(self._at) else 0
        if self._text.startswith("/*", self._at + marker):
            self._at += marker
            self._skip()
            self._comment()
            return False
        self._emit(Kind.LEFT_DELIM)
        self._at += marker
        self._skip()
        self._parens = 0
        return True

    def _comment(self) -> None:
        end = self._text.find("*/", self._at + 2)
        if end < 0:
            raise self._fail("unclosed comment")
        self._at = end + 2
        delimiter, trims = self._right_delimiter_here()
        if not delimiter:
            raise self._fail("comment ends before closing delimiter")
        self._pass_right_delimiter(trims)

    def _right_delimiter_here(self) -> tuple[bool, bool]:
        """Whether `}}` stands here, and whether ` -` stands before it."""
        text, at = self._text, self._at
        if text[at : at + 1] in tuple(SPACES) and text.startswith("-}}", at + 1):
            return True, True
        return text.startswith("}}", at), False

    def _pass_right_delimiter(self, trims: bool) -> None:
        self._at += 4 if trims else 2
        if trims:
            self._accept_run(SPACES)
        self._skip()

    # ---- inside an action

    def _inside(self) -> bool:
        """One token; False when the action has ended."""
        delimiter, trims = self._right_delimiter_here()
        if delimiter:
            if self._parens:
                raise self._fail("unclosed left paren")
            return self._right_delimiter(trims)
        character = self._peek()
        if not character:
            raise self._fail("unclosed action")
        if character in SPACES:
            return self._spaces()
        if not self._punctuation(character):
            self._word(character)
        return True

    def _right_delimiter(self, trims: bool) -> bool:
        if trims:
            self._at += 2
            self._skip()
        self._at += 2
        self._emit(Kind.RIGHT_DELIM)
        if trims:
            self._accept_run(SPACES)
            self._skip()
        return False

    def _spaces(self) -> bool:
        """A run of spaces, but not the one that belongs to ` -}}`."""
        self._accept_run(SPACES)
        if self._text.startswith("-}}", self._at):
            self._at -= 1
            if self._at == self._start:
                return self._right_delimiter(True)
        self._emit(Kind.SPACE)
        return True

    def _punctuation(self, character: str) -> bool:
        """Everything that its first character decides; True when it was that."""
        if character == "." and self._text[self._at + 1 : self._at + 2] not in "0123456789":
            self._at += 1
            self._field_or_variable(Kind.FIELD, Kind.DOT)
        elif character == "$":
            self._at += 1
            self._field_or_variable(Kind.VARIABLE, Kind.VARIABLE)
        elif character in "\"`'":
            self._quoted(character)
        elif character in "=:|()":
            self._operator(character)
        else:
            return False
        return True

    def _operator(self, character: str) -> None:
        self._at += 1
        if character == ":":
            if not self._accept("="):
                self._at += 1 if self._peek() else 0
                raise self._fail("expected :=")
            return self._emit(Kind.DECLARE)
        if character in "()":
            self._parens += 1 if character == "(" else -1
            if self._parens < 0:
                raise self._fail("unexpected right paren")
        kinds = {
            "=": Kind.ASSIGN,
            "|": Kind.PIPE,
            "(": Kind.LEFT_PAREN,
            ")": Kind.RIGHT_PAREN,
        }
        return self._emit(kinds[character])

    def _word(self, character: str) -> None:
        if character in ".+-" or character in "0123456789":
            self._number()
        elif is_word(character):
            self._identifier()
        elif character.isascii() and character.isprintable():
            self._at += 1
            self._emit(Kind.CHAR)
        else:
            raise self._fail(f"unrecognized character in action: {_unicode_name(character)}")

    def _at_terminator(self) -> bool:
        character = self._peek()
        return not character or character in _TERMINATORS or self._text.startswith("}}", self._at)

    def _end_word(self) -> None:
        while self._peek() and is_word(self._peek()):
            self._at += 1
        if not self._at_terminator():
            raise self._fail(f"bad character {_unicode_name(self._peek())}")

    def _field_or_variable(self, kind: Kind, bare: Kind) -> None:
        if self._at_terminator():
            return self._emit(bare)
        self._end_word()
        return self._emit(kind)

    def _identifier(self) -> None:
        self._end_word()
        word = self._text[self._start : self._at]
        if word in ("true", "false"):
            return self._emit(Kind.BOOL)
        return self._emit(KEYWORDS.get(word, Kind.IDENTIFIER))

    _NAMES = {'"': "quoted string", "`": "raw quoted string", "'": "character constant"}
    _KINDS = {'"': Kind.STRING, "`": Kind.RAW_STRING, "'": Kind.CHAR_CONSTANT}

    def _quoted(self, quotation: str) -> None:
        at = self._at + 1
        text = self._text
        while at < len(text) and text[at] != quotation:
            if quotation != "`":
                at += text[at] == "\\"
                if text[at : at + 1] in ("\n", ""):
                    at = len(text)
            at += 1
        if at >= len(text):
            raise self._fail(f"unterminated {self._NAMES[quotation]}")
        self._at = at + 1
        self._emit(self._KINDS[quotation])

    def _number(self) -> None:
        if not self._scan_number():
            raise self._bad_number()
        if self._peek() in ("+", "-"):
            if not self._scan_number() or self._text[self._at - 1] != "i":
                raise self._bad_number()
            return self._emit(Kind.COMPLEX)
        return self._emit(Kind.NUMBER)

    def _bad_number(self) -> _Stop:
        return self._fail(f"bad number syntax: {quote(self._text[self._start : self._at])}")

    def _scan_number(self) -> bool:
        self._accept("+-")
        digits = "0123456789_"
        if self._accept("0"):
            for letters, others in (
                ("xX", "0123456789abcdefABCDEF_"),
                ("oO", "01234567_"),
                ("bB", "01_"),
            ):
                if self._accept(letters):
                    digits = others
                    break
        self._accept_run(digits)
        if self._accept("."):
            self._accept_run(digits)
        exponent = {11: "eE", 23: "pP"}.get(len(digits))
        if exponent and self._accept(exponent):
            self._accept("+-")
            self._accept_run("0123456789_")
        self._accept("i")
        if self._peek() and is_word(self._peek()):
            self._at += 1
            return False
        return True


def _unicode_name(character: str) -> str:
    """`%#U` of the character (of the end of the text: Go's eof, -1)."""
    if not character:
        return "U+FFFFFFFFFFFFFFFF"
    shown = f" '{character}'" if character.isprintable() else ""
    return f"U+{ord(character):04X}{shown}"
