"""What chat templates may count on besides their messages."""

from datetime import UTC, datetime

import pytest

from mlx_ollama.api.messages import Message, Tool, ToolFunction, ToolParameters, ToolProperty
from mlx_ollama.prompt.conversation import Conversation, TemplateError
from mlx_ollama.prompt.jinja_template import JinjaTemplate

HELLO = Conversation(
    messages=[Message(role="user", content="hello")],
    now=datetime(2026, 2, 3, tzinfo=UTC),
)
TOOL = Tool(
    type="function",
    function=ToolFunction(
        name="tide",
        description="a < b",
        parameters=ToolParameters(
            type="object",
            required=["x"],
            properties={"x": ToolProperty(type=["string"], enum=["é"], description="d")},
        ),
    ),
)


def test_json_is_spelled_as_python_spells_it() -> None:
    text = JinjaTemplate("{{ tools|tojson }}").render(
        Conversation(messages=HELLO.messages, tools=[TOOL])
    )
    assert text == (
        '[{"type": "function", "function": {"name": "tide", "description": "a < b", "parameters": '
        '{"type": "object", "properties": {"x": {"type": "string", "enum": ["é"], "description": "d"}}, '
        '"required": ["x"]}}}]'
    )


def test_tools_are_none_where_there_are_none() -> None:
    assert JinjaTemplate("{{ tools is none }} {{ documents is none }}").render(HELLO) == "True True"


def test_the_date_is_the_conversation_s() -> None:
    assert JinjaTemplate("{{ strftime_now('%d %b %Y') }}").render(HELLO) == "03 Feb 2026"


def test_a_template_s_own_refusal_is_its_text() -> None:
    with pytest.raises(TemplateError, match=r"^no cats$"):
        JinjaTemplate("{{ raise_exception('no cats') }}").render(HELLO)


def test_tools_take_the_template_that_is_named_for_them() -> None:
    template = JinjaTemplate({"default": "plain", "tool_use": "tools", "rag": "documents"})
    assert template.render(HELLO) == "plain"
    assert template.render(Conversation(messages=HELLO.messages, tools=[TOOL])) == "tools"
    assert template.render(HELLO, documents=[{"text": "x"}]) == "documents"


def test_generation_marks_and_loop_controls_are_understood() -> None:
    source = (
        "{% for x in range(9) %}{% if x == 3 %}{% break %}{% endif %}"
        "{% generation %}{{ x }}{% endgeneration %}{% endfor %}"
    )
    assert JinjaTemplate(source).render(HELLO) == "012"


def test_special_tokens_have_their_names_and_others_are_nothing() -> None:
    template = JinjaTemplate(
        "{{ bos_token }}|{{ eos_token }}|{{ pad_token }}|{{ unk_token }}",
        bos_token="<s>",
        eos_token="</s>",
        tokens={"pad_token": "<pad>"},
    )
    assert template.render(HELLO) == "<s>|</s>|<pad>|"


def test_content_comes_in_parts_where_the_template_reads_parts() -> None:
    source = "{% for m in messages %}{% for p in m.content %}{% if p.type == 'text' %}{{ p.text }}{% endif %}{% endfor %}{% endfor %}"
    template = JinjaTemplate(source)
    assert template.takes_parts
    assert template.render(HELLO) == "hello"


def test_a_level_of_thinking_is_also_an_effort() -> None:
    template = JinjaTemplate("{{ enable_thinking }} {{ thinking }} {{ reasoning_effort }}")
    assert template.render(Conversation(messages=HELLO.messages, think="low")) == "True True low"
    assert template.render(Conversation(messages=HELLO.messages, think=False)) == "False False "
    assert template.render(HELLO) == "  "


def test_an_answer_is_left_open_even_where_the_template_drops_its_end() -> None:
    source = "{% for m in messages %}[{{ m.content[:3] }}]{% endfor %}{% if add_generation_prompt %}>{% endif %}"
    turns = [Message(role="user", content="ask"), Message(role="assistant", content="answer")]
    assert JinjaTemplate(source).render(Conversation(messages=turns)) == "[ask]>answer"


def test_capabilities_are_told_by_the_text() -> None:
    assert JinjaTemplate("{{ tools }}<think></think>").capabilities == ["tools", "thinking"]
    assert JinjaTemplate("{{ messages }}").capabilities == []


def test_a_broken_template_is_refused_when_it_is_read() -> None:
    with pytest.raises(TemplateError):
        JinjaTemplate("{% if %}")


STRICT = """{% for m in messages %}{% if m.role == 'system' and not loop.first %}{{ raise_exception('late system') }}\
{% endif %}{% if not loop.first and messages[loop.index0 - 1].role == m.role %}{{ raise_exception('alternate') }}\
{% endif %}<{{ m.role }}>{{ m.content }}{% endfor %}"""


def test_an_order_that_a_template_refuses_is_changed_and_nothing_left_out() -> None:
    turns = [
        Message(role="user", content="a"),
        Message(role="user", content="b"),
        Message(role="system", content="s"),
        Message(role="assistant", content="c"),
        Message(role="user", content="d"),
    ]
    text = JinjaTemplate(STRICT).render(Conversation(messages=turns))
    assert text == "<system>s<user>a\n\nb<assistant>c<user>d"


def test_a_template_without_a_place_for_system_text_gets_it_in_the_first_question() -> None:
    source = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "<{{ m.role }}>{{ m.content }}{% endfor %}"
    )
    silent = (
        "{% for m in messages if m.role != 'system' %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    )
    turns = [Message(role="system", content="s"), Message(role="user", content="q")]
    for template in (source, silent):
        assert JinjaTemplate(template).render(Conversation(messages=turns)) == "<user>s\n\nq"


def test_what_no_order_helps_is_the_template_s_first_refusal() -> None:
    source = "{% if messages|length < 9 %}{{ raise_exception('too short') }}{% endif %}"
    turns = [Message(role="user", content="a"), Message(role="user", content="b")]
    with pytest.raises(TemplateError, match=r"^too short$"):
        JinjaTemplate(source).render(Conversation(messages=turns))
