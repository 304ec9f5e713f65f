"""Which format a model is spoken to in, and what reads its answers."""

import pytest

from mlx_ollama.api.messages import Message
from mlx_ollama.errors import InvalidRequest
from mlx_ollama.ipc.messages import Prompting
from mlx_ollama.prompt.conversation import Conversation, TemplateError
from mlx_ollama.runner.prompting import Prompter, with_image_marks

GO = "go:{{ .Prompt }}"
JINJA = "jinja:{% for m in messages %}{{ m['content'] }}{% endfor %}"
HI = [Message(role="user", content="hi")]
MARKS = frozenset(["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"])


def test_a_request_s_template_comes_before_all_others() -> None:
    prompter = Prompter(Prompting(renderer="qwen3-coder", template=GO), JINJA)
    assert prompter.speech("own:{{ .Prompt }}").render_messages(HI) == "own:hi"


def test_a_renderer_comes_before_the_template() -> None:
    prompter = Prompter(Prompting(renderer="qwen3-coder", template=GO), JINJA)
    assert "<|im_start|>user\nhi<|im_end|>" in prompter.speech().render_messages(HI)


def test_a_template_comes_before_the_model_s_chat_template() -> None:
    assert Prompter(Prompting(template=GO), JINJA).speech().render_messages(HI) == "go:hi"


def test_a_chat_template_comes_before_the_fallback() -> None:
    assert Prompter(Prompting(), JINJA).speech().render_messages(HI) == "jinja:hi"
    assert "hi" in Prompter(Prompting()).speech().render_messages(HI)


def test_chat_templates_may_be_a_list_of_named_ones() -> None:
    named = [{"name": "default", "template": JINJA}, {"name": "tool_use", "template": "other"}]
    assert Prompter(Prompting(), named).speech().render_messages(HI) == "jinja:hi"


def test_thinking_tags_are_those_of_the_template() -> None:
    source = "{{ range .Messages }}{{ .Content }}{{ if .Thinking }}<t>{{ .Thinking }}</t>{{ end }}{{ end }}"
    speech = Prompter(Prompting(template=source)).speech(think=True)
    parsed = speech.parser("", None).add("<t>hm</t>yes", done=True)
    assert (parsed.thinking, parsed.content) == ("hm", "yes")
    assert speech.reads("<t>")
    assert not speech.reads("<other>")


def test_a_named_parser_reads_its_own_tokens() -> None:
    speech = Prompter(Prompting(template=GO, parser="harmony")).speech()
    assert speech.reads("<|channel|>")


def test_gpt_oss_s_template_implies_harmony() -> None:
    source = "<|start|>user<|message|>{{ .Prompt }}<|end|><|start|>assistant"
    assert Prompter(Prompting(template=source, family="gptoss")).speech().reads("<|channel|>")
    assert not Prompter(Prompting(template=source, family="llama")).speech().reads("<|channel|>")


def test_an_unknown_parser_or_renderer_is_named() -> None:
    with pytest.raises(InvalidRequest, match='unknown parser "x"'):
        Prompter(Prompting(parser="x")).speech()
    with pytest.raises(TemplateError, match='unknown renderer "x"'):
        Prompter(Prompting(renderer="x")).speech()


GAP = Conversation(prompt="before", suffix="after")


def test_a_gap_is_filled_by_a_template_with_a_place_for_it() -> None:
    source = "<P>{{ .Prompt }}<S>{{ .Suffix }}<M>"
    prompter = Prompter(Prompting(template=source), vocabulary=MARKS)
    assert prompter.infill().render(GAP) == "<P>before<S>after<M>"


def test_else_a_gap_is_filled_with_the_vocabulary_s_marks() -> None:
    wanted = "<|fim_prefix|>before<|fim_suffix|>after<|fim_middle|>"
    assert Prompter(Prompting(template=GO), vocabulary=MARKS).infill().render(GAP) == wanted
    codestral = Prompter(Prompting(), vocabulary=frozenset(["[PREFIX]", "[SUFFIX]"]))
    assert codestral.infill().render(GAP) == "[SUFFIX]after[PREFIX]before"


def test_without_either_a_suffix_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="does not support insert"):
        Prompter(Prompting(template=GO)).infill()


def test_images_are_counted_over_the_messages() -> None:
    first = Message(role="user", content="a [img] b", images=[b"1", b"2"])
    second = Message(role="user", content="c", images=[b"3"])
    marked = with_image_marks([first, *HI, second])
    assert [m.content for m in marked] == ["[img-1]a [img-0] b", "hi", "[img-2]c"]
