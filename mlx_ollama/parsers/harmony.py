"""Harmony, the format of gpt-oss: an answer is a row of messages, each with a header that says what it is."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from mlx_ollama.api.messages import Tool
from mlx_ollama.parsers.reader import BLANKS, Format, Sink, Steps
from mlx_ollama.parsers.values import load_object

START, MESSAGE, END, CHANNEL = "<|start|>", "<|message|>", "<|end|>", "<|channel|>"
CONSTRAIN, CALL = "<|constrain|>", "<|call|>"
PRESERVED_TOKENS = (START, END, MESSAGE, CHANNEL, CONSTRAIN)

_BLANK = re.compile(f"[{BLANKS}]+")
_OWN_TOOLS = {"browser.open", "browser.search", "browser.find", "python"}


class Header(NamedTuple):
    """What stands before a message's text; empty where it says nothing."""

    role: str = ""
    channel: str = ""
    recipient: str = ""


def parse_header(text: str) -> Header:
    """The header between the start and message tags: a role, a channel, a recipient, in some order."""
    text = text.replace(CONSTRAIN, f" {CONSTRAIN}", 1)
    before, tag, after = text.partition(CHANNEL)
    channel = ""
    if tag:
        channel, rest = [*_BLANK.split(after, 1), ""][:2]
        text = f"{before} {rest}" if rest else before
    words = [word for word in _BLANK.split(text) if word]
    if not words:
        return Header(channel=channel)
    role, *others = words
    if role.startswith("to="):
        return Header("tool", channel, role[3:])
    recipient = others[0][3:] if others and others[0].startswith("to=") else ""
    return Header(role, channel, recipient)


class FunctionNames:
    """Functions' names as identifiers, which the model can write, and back.

    Invariant: no two names share an identifier; a name added twice gets a second one.
    """

    def __init__(self) -> None:
        self._originals: dict[str, str] = {}

    def add(self, name: str) -> str:
        """The identifier of `name`: `get-tide` is `get_tide`, and `get_tide_2` where that is taken."""
        identifier = base = _identifier(name)
        count = 2
        while identifier in self._originals:
            identifier, count = f"{base}_{count}", count + 1
        if name in _OWN_TOOLS:
            identifier = name
        self._originals[identifier] = name
        return identifier

    def original(self, identifier: str) -> str:
        """The name that became `identifier`, itself when none did."""
        return self._originals.get(identifier, identifier)


def _identifier(name: str) -> str:
    kept = "".join(
        "_" if character in " -." else character
        for character in name
        if character in " -._$" or character.isalpha() or character.isdecimal()
    )
    return f"_{kept}" if kept[:1] in set("0123456789") else kept or "unnamed"


def rename_tools(tools: Sequence[Tool]) -> tuple[list[Tool], FunctionNames]:
    """The tools with identifiers for names, and the way back."""
    names = FunctionNames()
    renamed: list[Tool] = []
    for tool in tools:
        function = tool.function
        if function.name:
            function = msgspec.structs.replace(function, name=names.add(function.name))
        renamed.append(msgspec.structs.replace(tool, function=function))
    return renamed, names


class Messages(Format):
    """Reads messages one after another and tells a subclass about each.

    `first`: the header of a message that the prompt has opened already; else the reply begins inside the header
    of an assistant's, or with `is_open` False before any. Text outside of messages is `stray`.
    """

    def __init__(self, first: Header | None = None, *, is_open: bool = True) -> None:
        super().__init__()
        self._first, self._is_open = first, is_open

    def begin(self) -> None:
        """A message starts; its header is not known yet."""

    def header(self, header: Header) -> Sink:
        """The header is known; returns where the message's text goes."""
        raise NotImplementedError

    def end(self, *, closed: bool) -> None:
        """The message is over, by its own tag or by the reply's end."""

    def stray(self, text: str) -> None:
        """Text outside of any message."""

    def _parse(self) -> Steps[None]:
        header = self._first
        is_open, role = self._is_open, "assistant" if self._is_open else ""
        while True:
            if not is_open:
                text, tag = yield from self.reader.collect(START)
                self.stray(text)
                if not tag:
                    return
            self.begin()
            if header is None:
                text, tag = yield from self.reader.collect(MESSAGE)
                if not tag:
                    self.stray(text)
                    return
                header = parse_header(role + text)
            tag = yield from self.reader.until(END, sink=self.header(header), trim=False)
            self.end(closed=bool(tag))
            if not tag:
                return
            header, is_open, role = None, False, ""


class Harmony(Messages):
    """Messages as thinking, content and calls. Arguments that are no object are content."""

    def __init__(self, first: Header | None, names: FunctionNames) -> None:
        super().__init__(first)
        self._names = names
        self._recipient = ""
        self._arguments: list[str] = []
        self.is_thinking = True

    def header(self, header: Header) -> Sink:
        if header.channel in ("analysis", "commentary") and header.recipient:
            self._recipient = header.recipient
            return self._arguments.append
        if header.channel == "analysis":
            return self.reader.thinking
        self.is_thinking = False
        return self.reader.content

    def end(self, *, closed: bool) -> None:
        if not self._recipient:
            return
        text = "".join(self._arguments).strip().removesuffix(CALL)
        arguments = load_object(text) if text else {}
        if arguments is None:
            self.reader.content("".join(self._arguments))
        else:
            name = self._names.original(self._recipient.removeprefix("functions."))
            self.reader.call(name, arguments)
        self._recipient = ""
        self._arguments.clear()

    def stray(self, text: str) -> None:
        if text.strip():
            self.reader.content(text)
