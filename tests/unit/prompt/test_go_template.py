"""Go templates as a model's TEMPLATE layer uses them."""

from datetime import UTC, datetime

import pytest

from mlx_ollama.api.messages import Message
from mlx_ollama.prompt.conversation import Conversation, TemplateError
from mlx_ollama.prompt.fallbacks import fallback
from mlx_ollama.prompt.go_json import Object, marshal, marshal_indent
from mlx_ollama.prompt.go_strconv import format_float
from mlx_ollama.prompt.go_template import GoTemplate

TURNS = [
    Message(role="system", content="S"),
    Message(role="user", content="Q"),
    Message(role="assistant", content="A"),
    Message(role="user", content="Q2"),
]


def test_dates_are_the_conversation_s() -> None:
    template = GoTemplate.parse(
        "{{ currentDate }} {{ yesterdayDate }}{{ range .Messages }}{{ end }}"
    )
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert template.render(Conversation(messages=TURNS[:2], now=now)) == "2026-03-01 2026-02-28"


@pytest.mark.parametrize(
    ("think", "want"),
    [(None, "false  false"), (True, "true medium true"), (False, "false  true"), ("high", "true high true")],
)  # fmt: skip
def test_thinking_has_three_fields(think: bool | str | None, want: str) -> None:
    template = GoTemplate.parse("{{ .Think }} {{ .ThinkLevel }} {{ .IsThinkSet }}{{ .Response }}")
    assert template.render(Conversation(messages=TURNS[1:2], think=think)) == want


def test_prompt_and_suffix_make_a_fill_in_the_middle() -> None:
    template = GoTemplate.parse(
        "<P>{{ .Prompt }}<S>{{ .Suffix }}<M>{{ range .Messages }}x{{ end }}"
    )
    assert template.render(Conversation(prompt="a", suffix="b")) == "<P>a<S>b<M>"
    assert template.capabilities == ["insert"]


def test_one_template_renders_many_times_the_same() -> None:
    template = GoTemplate.parse("{{ .System }}|{{ .Prompt }}|{{ .Response }}|end")
    first = template.render(Conversation(messages=TURNS))
    assert template.render(Conversation(messages=TURNS)) == first == "S|Q|A|end|Q2|"


def test_a_mistake_is_told_with_its_place() -> None:
    with pytest.raises(TemplateError, match=r'^template: :2: function "nosuch" not defined$'):
        GoTemplate.parse("a\n{{ nosuch }}")


@pytest.mark.parametrize(
    ("number", "text"),
    [(1.0, "1"), (1e21, "1e+21"), (1e20, "100000000000000000000"), (1e-7, "1e-7"), (0.000001, "0.000001"),
     (-0.0, "-0"), (12345678901234567890.0, "12345678901234567000"), (5e-324, "5e-324")],
)  # fmt: skip
def test_json_numbers_are_go_s(number: float, text: str) -> None:
    assert marshal(number) == text


@pytest.mark.parametrize(
    ("style", "precision", "want"),
    [("g", -1, "1.234567e+06"), ("f", 2, "1234567.00"), ("e", 3, "1.235e+06"), ("x", -1, "0x1.2d687p+20"),
     ("b", -1, "5302424889720832p-32"), ("G", 3, "1.23E+06"), ("x", 1, "0x1.3p+20")],
)  # fmt: skip
def test_floats_have_go_s_forms(style: str, precision: int, want: str) -> None:
    assert format_float(1234567.0, style, precision) == want


def test_maps_are_sorted_and_objects_keep_their_order() -> None:
    assert (
        marshal({"b": 1, "a": Object(d="<", c=[None, True])})
        == '{"a":{"d":"\\u003c","c":[null,true]},"b":1}'
    )
    assert marshal(Object(b=1, a="<"), escape_html=False, spaced=True) == '{"b": 1, "a": "<"}'
    assert marshal_indent({"a": [1], "b": {}}, "  ") == '{\n  "a": [\n    1\n  ],\n  "b": {}\n}'


@pytest.mark.parametrize(
    ("marks", "want"),
    [
        (["<|im_start|>", "<|im_end|>"], "<|im_start|>assistant\n"),
        (["<|start_header_id|>", "<|eot_id|>"], "<|start_header_id|>assistant<|end_header_id|>\n\n"),
        (["<start_of_turn>", "<end_of_turn>"], "<start_of_turn>model\n"),
        (["[INST]", "[/INST]"], "A</s>[INST] Q2 [/INST]"),
        (["<|turn>", "<turn|>"], "<|turn>model\n"),
        ([], "S\n\nQAQ2"),
    ],
)  # fmt: skip
def test_a_model_without_a_format_gets_the_one_its_vocabulary_implies(
    marks: list[str], want: str
) -> None:
    text = fallback(marks).render(Conversation(messages=TURNS))
    assert text.endswith(want)
    assert all(part in text for part in ("S", "Q", "A", "Q2"))
