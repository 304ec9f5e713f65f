"""Which parser reads a model's answers, and which format a model speaks when nobody has said so."""

import re
from collections.abc import Collection, Sequence

from msgspec import Struct

from mlx_ollama.api.messages import Message, Think, Tool
from mlx_ollama.parsers.builtin import BUILTINS
from mlx_ollama.parsers.builtin.builtin import Start
from mlx_ollama.parsers.harmony import rename_tools
from mlx_ollama.parsers.parser import OutputParser
from mlx_ollama.parsers.reader import Format, Steps
from mlx_ollama.parsers.thinking import read_thinking
from mlx_ollama.parsers.tools import TOOL_FORMATS
from mlx_ollama.parsers.tools.generic import LeadingCalls, TaggedCalls
from mlx_ollama.parsers.tools.tool_format import ToolFormat


class AnswerFormat(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What `infer` found in a chat template or vocabulary; its fields are arguments of `pick_parser`.

    `name` is a built-in parser whose format carries everything (`harmony`, `gemma4`, …), else empty.
    `tool_format` is a name of `parsers/tools`. `tokens`: texts that the parser looks for; a control token that is
    part of one must reach it as text.
    """

    name: str = ""
    thinking_tags: tuple[str, str] | None = None
    tool_format: str = ""
    tokens: tuple[str, ...] = ()


# Pairs that models of the field use, the most usual first.
THINKING_TAGS = (
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<longcat_think>", "</longcat_think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
)
# Built-in parsers for formats that carry everything, and what shows them in a chat template.
_WHOLE_FORMATS = {
    "harmony": ("<|start|>", "<|channel|>", "<|message|>"),
    "glimmer": ("<atem:function_calls>",),
    "gemma4": ("<|channel>", "<|tool_call>"),
    "cohere": ("<|START_THINKING|>", "<|START_ACTION|>", "<|END_OF_TURN_TOKEN|>"),
}
# Formats whose tags are tokens of their own; the first of which all are known counts.
_BY_VOCABULARY = ("lfm2", "kimi", "deepseek", "glm", "minimax", "hermes")
_TOOLS = re.compile(r"tools\b")


def infer(chat_template: str = "", vocabulary: Collection[str] = ()) -> AnswerFormat:
    """The answer format of a Jinja `chat_template`; where that is silent, of the tokens in `vocabulary`.

    Never fails: a model with neither thinking nor tools gives an empty format.
    """
    for name, signs in _WHOLE_FORMATS.items():
        if all(sign in chat_template for sign in signs):
            return AnswerFormat(name=name, tokens=BUILTINS[name].preserved_tokens)
    tags = _infer_thinking(chat_template, vocabulary)
    tool_format = _infer_tools(chat_template, vocabulary)
    tokens = TOOL_FORMATS[tool_format].tokens if tool_format else ()
    return AnswerFormat(
        thinking_tags=tags, tool_format=tool_format, tokens=(*(tags or ()), *tokens)
    )


def _infer_thinking(template: str, vocabulary: Collection[str]) -> tuple[str, str] | None:
    """A closing tag in the template is sign enough: some only strip old thinking by it."""
    shown = (tags for tags in THINKING_TAGS if tags[1] in template)
    known = (tags for tags in THINKING_TAGS if tags[0] in vocabulary and tags[1] in vocabulary)
    return next(shown, None) or next(known, None)


def _infer_tools(template: str, vocabulary: Collection[str]) -> str:
    """By the template's tags; by the vocabulary's, where a template takes tools but shows none; else bare JSON."""
    for name, item in TOOL_FORMATS.items():
        if item.appears_in(template):
            return name
    for name in _BY_VOCABULARY:
        if all(token in vocabulary for token in TOOL_FORMATS[name].tokens):
            return name
    return "json" if _TOOLS.search(template) else ""


def pick_parser(  # noqa: PLR0913 - the one place where all that shapes an answer comes together
    name: str = "",
    *,
    tools: Sequence[Tool] = (),
    last_message: Message | None = None,
    think: Think = None,
    thinking_tags: tuple[str, str] | None = None,
    tool_tag: str = "",
    tool_format: str = "",
    prompt: str = "",
) -> OutputParser:
    """A parser for one reply.

    `name`: a built-in parser (config `parser`), which then does everything; KeyError when unknown.
    Without one: `thinking_tags` are read when `think` is on (None counts as off), then tool calls when `tools`
    are given: in `tool_format` (from `infer`), else generically after `tool_tag` (from a Go template's
    `.ToolCalls`; empty means no calls).
    `tools` are the request's own, before `tools_for_prompt`. `last_message` is the conversation's last, for
    an answer that goes on where an assistant message stopped. `prompt` is the rendered prompt: one that ends
    with the opening thinking tag starts inside the thinking.
    """
    if name:
        return BUILTINS[name].make(Start(tools=tools, last_message=last_message, think=think))
    return Inferred(
        thinking_tags=thinking_tags if think else None,
        inside=thinking_tags is not None and prompt.rstrip().endswith(thinking_tags[0]),
        tools=tools,
        tool_format=_tool_format(tool_format, tool_tag) if tools else None,
    )


def tools_for_prompt(name: str, tools: Sequence[Tool]) -> list[Tool]:
    """The tools as a prompt must name them: harmony's function names are mapped to identifiers, others kept."""
    return rename_tools(tools)[0] if name == "harmony" else list(tools)


class ParserInfo(Struct, frozen=True, kw_only=True):
    """What a built-in parser can read. `preserved_tokens` must reach it as text though they are special."""

    has_tools: bool
    has_thinking: bool
    preserved_tokens: tuple[str, ...] = ()


def parser_info(name: str) -> ParserInfo | None:
    """About a built-in parser; None when there is none of that name."""
    builtin = BUILTINS.get(name)
    return builtin and ParserInfo(
        has_tools=builtin.has_tools,
        has_thinking=builtin.has_thinking,
        preserved_tokens=builtin.preserved_tokens,
    )


class Inferred(Format):
    """A parser put together from what a template shows: thinking tags, then content with or without calls."""

    def __init__(
        self,
        *,
        thinking_tags: tuple[str, str] | None,
        inside: bool,
        tools: Sequence[Tool],
        tool_format: ToolFormat | None,
    ) -> None:
        super().__init__()
        self._tags = thinking_tags
        self._inside = inside
        self._tools = tools
        self._tool_format = tool_format

    def _parse(self) -> Steps[None]:
        if self._tags:
            yield from read_thinking(self, *self._tags, inside=self._inside)
        if self._tool_format:
            yield from self._tool_format.read_answer(self.reader, self._tools)


def _tool_format(name: str, tag: str) -> ToolFormat | None:
    if name:
        return TOOL_FORMATS[name]
    if tag in ("{", "["):
        return LeadingCalls(tag)
    return TaggedCalls(tag) if tag else None
