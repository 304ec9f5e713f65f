"""The same reply gives the same result however it is split, for every parser and any text."""

from itertools import pairwise

import pytest
from hypothesis import given, settings, strategies as st

from mlx_ollama.parsers.builtin import BUILTINS
from mlx_ollama.parsers.tools import TOOL_FORMATS
from tests.unit.parsers.every_parser import PARSERS, total

_TOKENS = {token for item in BUILTINS.values() for token in item.preserved_tokens}
_TOKENS.update(token for item in TOOL_FORMATS.values() for token in item.tokens if token != "\0")
_TOKENS.update(
    [
        "<function=tide_level>",
        "</function>",
        "<parameter=harbour>",
        "</parameter>",
        "call:tide_level{",
        "<escape>",
        "[",
        "]",
        "{",
        "}",
        "(",
        ")",
        '"',
        "'",
        "\\",
        ",",
        "=",
        ":",
        "tide_level",
        "harbour",
        "name",
        "arguments",
        "functions.",
        "to=",
        "<|call|>",
        "```json",
        "<atem:function_calls>",
        "</atem:function_calls>",
        "<atem:invoke",
        "</atem:invoke>",
        "<invoke",
        "</invoke>",
        "assistant",
        "thought",
        "\x00",
    ]
)
_CALLS = (
    '<tool_call>\n{"name": "tide_level", "arguments": {"harbour": "A </tool_call> b"}}\n</tool_call>',
    "<tool_call><function=tide_level><parameter=harbour>\nx\n</parameter></function></tool_call>",
    '[TOOL_CALLS]tide_level[ARGS]{"harbour": "x"}',
    '<|tool_call>call:tide_level{harbour:<|"|>x<|"|>}<tool_call|>',
    '<|channel|>commentary to=functions.tide_level<|message|>{"harbour":"x"}<|end|><|start|>assistant',
    '<|tool_call_start|>[tide_level(harbour="x", days=2)]<|tool_call_end|>',
)
_WORDS = st.sampled_from(
    ["a", "Brest", " ", "\n", "é", "海", "🚢", " \n\t ", "1.5", "null", "true"]
)
_PIECES = st.one_of(
    st.sampled_from(sorted(_TOKENS)), st.sampled_from(_CALLS), _WORDS, st.text(max_size=4)
)


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=40, deadline=None)
@given(pieces=st.lists(_PIECES, max_size=14), data=st.data())
def test_one_total_for_every_split(name: str, pieces: list[str], data: st.DataObject) -> None:
    reply = "".join(pieces)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(reply)), max_size=6)))
    parts = [reply[a:b] for a, b in pairwise([0, *cuts, len(reply)])]
    make = PARSERS[name]
    whole = total(make(), reply)
    assert total(make(), *parts) == whole
    assert total(make(), *reply) == whole


@pytest.mark.parametrize("name", PARSERS)
def test_a_reply_without_any_tag_is_given_whole(name: str) -> None:
    reply = "The gulls sleep\n\non the roof 🚢. "
    result = total(PARSERS[name](), reply)
    assert (result.thinking + result.content, result.calls) == (reply, [])


@pytest.mark.parametrize("name", PARSERS)
def test_a_reply_streams_as_it_comes(name: str) -> None:
    """But for formats that may hold what comes before a header, and bare lists and objects."""
    parser = PARSERS[name]()
    first = parser.add("Gulls sleep on the roof.")
    headed = name.startswith(("harmony", "glimmer"))
    assert (first.content + first.thinking == "Gulls sleep on the roof.") is not headed


@pytest.mark.parametrize("name", PARSERS)
def test_nobody_thinks_after_the_end(name: str) -> None:
    parser = PARSERS[name]()
    parser.add("<think>half a thou", done=True)
    assert not parser.is_thinking
