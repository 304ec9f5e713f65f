"""Every parser there is, for tests that all of them must pass."""

from collections.abc import Callable, Iterator

import msgspec

from mlx_ollama.api.messages import Tool
from mlx_ollama.parsers.builtin import BUILTINS
from mlx_ollama.parsers.output import pick_parser
from mlx_ollama.parsers.parser import OutputParser
from mlx_ollama.parsers.tools import TOOL_FORMATS
from tests.golden.differences import Total

TOOLS = msgspec.convert(
    [
        {
            "type": "function",
            "function": {
                "name": "tide_level",
                "parameters": {
                    "type": "object",
                    "required": ["harbour"],
                    "properties": {
                        "harbour": {"type": ["string"]},
                        "days": {"type": ["integer"]},
                        "precise": {"type": ["boolean"]},
                        "opts": {"type": ["object"]},
                        "list": {"type": ["array"]},
                    },
                },
            },
        },
        {"type": "function", "function": {"name": "ping-light", "parameters": {"type": "object"}}},
    ],
    list[Tool],
)
GENERIC_TAGS = ("{", "[", "<tool_call>", "[TOOL_CALLS]", "functools[")

Make = Callable[[], OutputParser]


def every_parser() -> Iterator[tuple[str, Make]]:
    for name in BUILTINS:
        for think in (True, False):
            yield f"{name} {think}", lambda n=name, t=think: pick_parser(n, tools=TOOLS, think=t)
    tags = ("<think>", "</think>")
    for name in TOOL_FORMATS:
        yield (
            f"format {name}",
            lambda n=name: pick_parser(tools=TOOLS, tool_format=n, think=True, thinking_tags=tags),
        )
    for tag in GENERIC_TAGS:
        yield f"tag {tag}", lambda t=tag: pick_parser(tools=TOOLS, tool_tag=t)


PARSERS = dict(every_parser())


def total(parser: OutputParser, *pieces: str) -> Total:
    """All that comes out of a reply in these pieces."""
    result = Total()
    for piece in pieces:
        result.take(parser.add(piece))
    return result.take(parser.add("", done=True))
