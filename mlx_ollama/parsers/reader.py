"""A format as straight-line code: a generator that asks a `Reader` for text and rests where none is left.

Because a format sees one stream and never a chunk, how the text was split cannot change the result.
"""

import re
from collections.abc import Callable, Generator
from functools import lru_cache
from typing import Any, TypeVar

from mlx_ollama.api.messages import ToolCall, ToolCallFunction
from mlx_ollama.parsers.parser import Parsed

T = TypeVar("T")
Steps = Generator[None, None, T]  # yields when it needs more text
Sink = Callable[[str], None]

# Unicode white space as Go and models understand it (str.isspace adds the separators 1c to 1f).
BLANKS = (
    "\t\n\v\f\r \x85\xa0\u1680"
    "\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)

BLANK_RUN = re.compile(f"[{BLANKS}]*")

_STRUCTURE = re.compile(r'[\[\]{}"\\]')
_MAX_INNER_CLOSES = 8  # closing tags taken as part of one call's values, so that work stays linear


@lru_cache(maxsize=256)
def _pattern(tags: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, tags)))


@lru_cache(maxsize=256)
def _starts(tags: tuple[str, ...]) -> tuple[str, ...]:
    """Every proper beginning of a tag, longest first."""
    return tuple(sorted({t[:n] for t in tags for n in range(1, len(t))}, key=len, reverse=True))


def partial_suffix(text: str, tags: tuple[str, ...], at: int = 0) -> int:
    """How many last characters of `text[at:]` may be the beginning of a tag."""
    tail = text[max(at, len(text) - max(map(len, tags))) :]
    return next((len(start) for start in _starts(tags) if tail.endswith(start)), 0)


def without_partial(text: str, tag: str) -> str:
    """`text` without the beginning of `tag` that it may end with."""
    return text[: len(text) - partial_suffix(text, (tag,))]


class Reader:
    """The text of a reply that no format has taken yet, and what has been made of the rest.

    Invariants: `_text[_at:]` is untaken; every character is taken once, except by `put_back`;
    after `ended` no text follows, and every method returns what it has instead of yielding.
    """

    def __init__(self) -> None:
        self._text = ""
        self._at = 0
        self._content: list[str] = []
        self._thinking: list[str] = []
        self._tool_calls: list[ToolCall] = []
        self._calls = 0
        self._trimmed = ""
        self.ended = False

    def push(self, text: str, *, done: bool) -> None:
        """More of the reply; with `done` there is none after it."""
        self._text = self._text[self._at :] + text
        self._at = 0
        self.ended = self.ended or done

    def parsed(self) -> Parsed:
        """What has been found since the last time."""
        parsed = Parsed(
            content="".join(self._content),
            thinking="".join(self._thinking),
            tool_calls=self._tool_calls,
        )
        self._content, self._thinking, self._tool_calls = [], [], []
        return parsed

    # ---- where text goes

    def content(self, text: str) -> None:
        self._content.append(text)

    def thinking(self, text: str) -> None:
        self._thinking.append(text)

    def drop(self, text: str) -> None:
        """For text that belongs to the format and not to the answer."""

    def call(self, name: str, arguments: dict[str, Any], identity: str = "") -> None:
        function = ToolCallFunction(index=self._calls, name=name, arguments=arguments)
        self._tool_calls.append(ToolCall(id=identity, function=function))
        self._calls += 1

    def refuse(self, text: str) -> None:
        """`text` began like a call and is none: it is content, with the white space that was dropped before it."""
        self.content(self._trimmed + text)
        self._trimmed = ""

    @property
    def calls(self) -> int:
        """How many calls this reply has so far."""
        return self._calls

    # ---- taking text

    def _take(self, length: int) -> str:
        taken = self._text[self._at : self._at + length]
        self._at += length
        return taken

    def put_back(self, text: str) -> None:
        """Let `text` be read again, before everything else."""
        if self._text.endswith(text, 0, self._at):
            self._at -= len(text)
        else:
            self._text = text + self._text[self._at :]
            self._at = 0

    def rest(self) -> str:
        """Everything that has arrived and is not taken."""
        return self._take(len(self._text) - self._at)

    def until(
        self, *tags: str, sink: Sink, trim: bool = True, keep_blank: bool = True
    ) -> Steps[str]:
        """Send the text before the first of `tags` to `sink` as it comes; return the tag, taken, or "" at the end.

        With `trim` white space just before a tag is dropped; at the end of the reply it is kept. Without
        `keep_blank` it is dropped in both places if there was nothing else.
        """
        held: list[str] = []
        sent = keep_blank

        def send(text: str) -> None:
            nonlocal sent
            body = text.rstrip(BLANKS) if trim or not sent else text
            if body:
                sink("".join(held) + body)
                held.clear()
                sent = True
            if len(body) < len(text):
                held.append(text[len(body) :])

        while True:
            found = _pattern(tags).search(self._text, self._at)
            send(self._take((found.start() if found else self._end_of_text(tags)) - self._at))
            if found or self.ended:
                keep = sent and not (found and trim)
                self._trimmed = "" if keep else "".join(held)
                sink("".join(held) if keep else "")
                return self._take(len(found[0])) if found else ""
            yield

    def _end_of_text(self, tags: tuple[str, ...]) -> int:
        """Where what may be the beginning of a tag begins."""
        return len(self._text) - (0 if self.ended else partial_suffix(self._text, tags, self._at))

    def collect(self, *tags: str) -> Steps[tuple[str, str]]:
        """The whole text before the first of `tags`, and that tag, or "" at the end."""
        pieces: list[str] = []
        while True:
            found = _pattern(tags).search(self._text, self._at)
            end = found.start() if found else self._end_of_text(tags)
            pieces.append(self._take(end - self._at))
            if found or self.ended:
                return "".join(pieces), self._take(len(found[0])) if found else ""
            yield

    def prefix(self, *tags: str) -> Steps[str]:
        """Take and return the one of `tags` that comes next; "" when it is none of them."""
        while True:
            for tag in tags:
                if self._text.startswith(tag, self._at):
                    return self._take(len(tag))
            rest = self._text[self._at : self._at + max(map(len, tags))]
            if self.ended or not any(tag.startswith(rest) for tag in tags):
                return ""
            yield

    def run(self, pattern: re.Pattern[str] = BLANK_RUN) -> Steps[str]:
        """Take and return what comes next of a set of characters (`[…]*`), by default white space."""
        pieces: list[str] = []
        while True:
            found = pattern.match(self._text, self._at)
            pieces.append(self._take(found.end() - self._at if found else 0))
            if self.ended or self._at < len(self._text):
                return "".join(pieces)
            yield

    def some(self) -> Steps[bool]:
        """Wait for a character; False when the reply has ended instead."""
        while self._at >= len(self._text):
            if self.ended:
                return False
            yield
        return True

    def balanced(self) -> Steps[str]:
        """Take a JSON object or array, found by its brackets; what is there when the reply ends before it does.

        The next character must be its first bracket.
        """
        pieces: list[str] = []
        depth, quoted = 0, False
        while True:
            at = self._at
            while found := _STRUCTURE.search(self._text, at):
                at = found.end()
                if found[0] == "\\":
                    if at == len(self._text):
                        at -= 1
                        break
                    at += 1
                elif found[0] == '"':
                    quoted = not quoted
                elif not quoted:
                    depth += 1 if found[0] in "[{" else -1
                    if depth == 0:
                        return "".join(pieces) + self._take(at - self._at)
            else:
                at = len(self._text)
            if self.ended:
                return "".join(pieces) + self.rest()
            pieces.append(self._take(at - self._at))
            yield

    def enclosed(
        self, close: str, is_open: Callable[[str], bool] = lambda body: False
    ) -> Steps[tuple[str, str]]:
        """A call's body and its closing tag, "" when the reply ended without one.

        A closing tag inside a value (`is_open` says whether a body ends in one) belongs to it, if a later one
        completes the body; else the first ends it.
        """
        body, tag = yield from self.collect(close)
        first, tries = body, 1
        while tag and tries <= _MAX_INNER_CLOSES and is_open(body):
            more, tag = yield from self.collect(close)
            body, tries = f"{body}{close}{more}", tries + 1
        if tries > 1 and (not tag or is_open(body)):
            self.put_back(body[len(first) + len(close) :] + tag)
            return first, close
        return body, tag


class Format:
    """An OutputParser made of a generator: a subclass gives `_parse`. What follows its end is content.

    `_parse` sets `is_thinking` while it reads thinking, or what may turn out to be.
    """

    def __init__(self) -> None:
        self.reader = Reader()
        self._is_thinking = False
        self._steps: Steps[None] | None = None
        self._has_begun = False

    def _parse(self) -> Steps[None]:
        raise NotImplementedError

    @property
    def is_thinking(self) -> bool:
        """As `OutputParser.is_thinking`; right before the first text, too."""
        if not self._has_begun:
            self._advance()
        return self._is_thinking and not self.reader.ended

    @is_thinking.setter
    def is_thinking(self, value: bool) -> None:
        self._is_thinking = value

    def add(self, text: str, *, done: bool = False) -> Parsed:
        """As `OutputParser.add`; linear in the text, whatever the chunks."""
        self.reader.push(text, done=done)
        self._advance()
        return self.reader.parsed()

    def _advance(self) -> None:
        if not self._has_begun:
            self._has_begun, self._steps = True, self._parse()
        if self._steps is not None and next(self._steps, _END) is _END:
            self._steps = None
        if self._steps is None:
            self.reader.content(self.reader.rest())


_END = object()
