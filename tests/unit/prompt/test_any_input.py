"""Whatever comes in, a prompt or a TemplateError comes out."""

from contextlib import suppress
from typing import Any

from hypothesis import given, settings, strategies as st

from mlx_ollama.api.messages import (
    Message,
    Tool,
    ToolCall,
    ToolCallFunction,
    ToolFunction,
    ToolParameters,
    ToolProperty,
)
from mlx_ollama.prompt.conversation import Conversation, TemplateError
from mlx_ollama.prompt.go_template import GoTemplate
from mlx_ollama.prompt.renderers import NAMES, renderer

PIECES = (
    "{{", "}}", "{{- ", " -}}", "if ", "else", "end", "range ", "with ", "define ", "template ", "block ", "break",
    ".Messages", ".Content", ".", "$", "$x", ":=", "=", "|", "(", ")", " ", '"a"', "`b`", "'c'", "1", "2.5", "-", ",",
    "printf ", "json ", "index ", "slice ", "len ", "eq ", "and ", "nil", "true", "/*", "*/", "\n", "é", "\0",
)  # fmt: skip
words = st.sampled_from(
    ("", "x", " \n", "<think>", "</think>", "é\u2028<&>", "[img]", "/no_think", "<|channel>")
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
    max_leaves=4,
)  # fmt: skip
calls = st.builds(
    ToolCall,
    id=words,
    function=st.builds(
        ToolCallFunction,
        name=words,
        arguments=st.dictionaries(words, values, max_size=2),
    ),
)
messages = st.builds(
    Message,
    role=st.sampled_from(("system", "user", "assistant", "tool", "developer", "")),
    content=words,
    thinking=words,
    images=st.lists(st.just(b"x"), max_size=2),
    tool_calls=st.lists(calls, max_size=2),
    tool_call_id=words,
)
properties = st.builds(
    ToolProperty,
    type=st.sampled_from(([], ["string"], ["array"], ["object", "null"])),
    items=values,
    description=words,
    enum=st.lists(values, max_size=2),
    properties=st.none() | st.just({"y": ToolProperty(type=["object"])}),
    required=st.sampled_from(([], ["x"])),
)
tools = st.builds(
    lambda name, schema, defs: Tool(
        type="function",
        function=ToolFunction(
            name=name,
            parameters=ToolParameters(type="object", defs=defs, properties={"x": schema}),
        ),
    ),
    words,
    properties,
    values,
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(messages, max_size=5),
    st.lists(tools, max_size=2),
    st.sampled_from((None, True, False, "low")),
)
def test_every_format_takes_every_conversation(
    said: list[Message], offered: list[Tool], think: Any
) -> None:
    conversation = Conversation(messages=said, tools=offered, think=think)
    for name in NAMES:
        with suppress(TemplateError):
            assert isinstance(renderer(name).render(conversation), str)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=25).map("".join))
def test_every_text_is_a_template_or_refused_as_one(text: str) -> None:
    with suppress(TemplateError):
        template = GoTemplate.parse("{{ $x := 1 }}" + text)
        assert isinstance(template.render(Conversation(messages=[Message(role="user")])), str)
