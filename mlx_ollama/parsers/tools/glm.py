"""Calls of GLM-4: `name<arg_key>key</arg_key><arg_value>value</arg_value>…`, values typed by the schema.

It is no XML: values are raw text. A tag that a model forgot is put back where only one reading makes sense.
"""

import re
from collections.abc import Iterator, Sequence

from mlx_ollama.api.messages import Tool
from mlx_ollama.parsers.tools.tool_format import Call, Enclosed
from mlx_ollama.parsers.values import parameter_types, trimmed_value

# A closing tag counts only before the next pair: else it belongs to the value.
_PAIR = re.compile(
    r"\s*<arg_key>(.*?)</arg_key>\s*<arg_value>(.*?)</arg_value>(?=\s*(?:<arg_key>|\Z))", re.DOTALL
)
_TAG = re.compile(r"<arg_key>|</arg_key>|<arg_value>|</arg_value>")


def _strict_pairs(text: str) -> list[tuple[str, str]] | None:
    pairs: list[tuple[str, str]] = []
    at = 0
    while found := _PAIR.match(text, at):
        pairs.append((found[1], found[2]))
        at = found.end()
    return None if text[at:].strip() else pairs


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    """Each tag with the text that follows it."""
    tags = list(_TAG.finditer(text))
    for tag, following in zip(tags, [*tags[1:], None], strict=True):
        yield tag[0], text[tag.end() : following.start() if following else len(text)]


def _loose_pairs(text: str) -> list[tuple[str, str]] | None:
    """Pairs of which some tags are missing: a text after a key's tag is its value, whichever tag that was."""
    pairs: list[tuple[str, str]] = []
    key = ""
    for tag, piece in _pieces(text):
        if tag == "<arg_key>":
            key = piece
        elif tag != "</arg_value>" and (piece.strip() or tag == "<arg_value>"):
            if not key:
                return None
            pairs.append((key, piece))
            key = ""
        elif tag == "</arg_value>" and piece.strip():
            return None
    return None if key else pairs


def _split_name(body: str) -> tuple[str, str]:
    """The function's name, and its arguments from the first tag on; `name key</arg_key>` lacks that tag."""
    tag = _TAG.search(body)
    if not tag:
        return body.strip(), ""
    name, rest = body[: tag.start()].strip(), body[tag.start() :]
    if tag[0] == "<arg_key>" or not name:
        return name, rest
    name, _, key = name.partition(" ") if " " in name else name.partition("\n")
    return name, f"<arg_key>{key.strip()}{rest}" if key else rest


def read_calls(body: str, tools: Sequence[Tool]) -> list[Call] | None:
    """The one call of a body; None when its name or the arguments cannot be told."""
    name, text = _split_name(body)
    pairs = _strict_pairs(text)
    if pairs is None:
        pairs = _loose_pairs(text)
    if not name or pairs is None or not all(key.strip() for key, _ in pairs):
        return None
    typed = {
        key.strip(): trimmed_value(value, parameter_types(tools, name, key.strip()))
        for key, value in pairs
    }
    return [Call(name, typed)]


def is_complete(call: Call, tools: Sequence[Tool]) -> bool:
    """Whether a call that the reply's end cut off has all it needs: a declared tool's required arguments."""
    declared = [tool.function for tool in tools if tool.function.name == call.name]
    return bool(declared) and all(key in call.arguments for key in declared[0].parameters.required)


def ends_in_value(body: str) -> bool:
    """Whether a body breaks off inside a value."""
    return body.rfind("<arg_value>") > body.rfind("</arg_value>")


GLM = Enclosed(
    "<tool_call>",
    "</tool_call>",
    read_calls,
    ends_in_value,
    is_complete,
    signs=("<arg_key>",),
    inner_tokens=("<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"),
)
