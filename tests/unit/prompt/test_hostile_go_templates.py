"""Go templates that nobody means well with end in an error, within bounds that are counted."""

import contextlib

import pytest

from mlx_ollama.api.messages import Message
from mlx_ollama.prompt.conversation import Conversation, TemplateError
from mlx_ollama.prompt.go_template import GoTemplate

CONVERSATION = Conversation(
    messages=[
        Message(role="system", content="x" * 2_000_000),
        *(Message(role="user" if at % 2 else "assistant", content="hello") for at in range(200)),
    ]
)
DEEP = 10_000
HOSTILE = {
    "a self-call": '{{ define "a" }}{{ template "a" . }}{{ end }}{{ template "a" . }}',
    "calls that double": "".join(
        f'{{{{ define "t{at}" }}}}{{{{ template "t{at + 1}" . }}}}{{{{ template "t{at + 1}" . }}}}{{{{ end }}}}'
        for at in range(35)
    )
    + '{{ define "t35" }}x{{ end }}{{ template "t0" . }}',
    "deep ifs": "{{ if true }}" * DEEP + "{{ end }}" * DEEP,
    "deep parentheses": "{{ " + "(" * DEEP + "1" + ")" * DEEP + " }}",
    "a long else-if": "{{ if false }}" + "{{ else if false }}" * 5000 + "{{ end }}",
    "a long count": "{{ range 1000000000 }}{{ end }}",
    "nested counts": "{{ range 9999 }}{{ range 9999 }}{{ range 9999 }}{{ end }}{{ end }}{{ end }}",
    "wide padding": '{{ printf "%1000000d%1000000d%1000000d%1000000d%1000000d" 1 2 3 4 5 }}',
    "doubled text": '{{ $s := "aaaaaaaa" }}{{ range 100 }}{{ $s = print $s $s }}{{ end }}',
    "much output": '{{ $s := "aaaaaaaa" }}{{ range 18 }}{{ $s = print $s $s }}{{ end }}{{ range 99 }}{{ $s }}{{ end }}',
    "much json": "{{ range .Messages }}{{ range $.Messages }}{{ $x := json $.Messages }}{{ end }}{{ end }}",
    "long text looked through": "{{ range .Messages }}{{ range 99999 }}{{ $x := len $.System }}{{ end }}{{ end }}",
    "many variables": "{{ $x := 1 }}" * 5000,
    "a long source": "x" * 2_000_000,
}  # fmt: skip


@pytest.mark.timeout(5)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_template_ends_in_an_error(name: str) -> None:
    with pytest.raises(TemplateError):
        GoTemplate.parse(HOSTILE[name]).render(CONVERSATION)


def test_a_width_that_go_refuses_gives_go_s_words() -> None:
    template = GoTemplate.parse('{{ .Prompt }}{{ printf "%1000000000d" 1 }}{{ .Response }}')
    assert "%!(NOVERB)" in template.render(Conversation(messages=[Message(role="user")]))


@pytest.mark.parametrize("word", ["if .Prompt", "with .Prompt", "range .Messages"])
def test_the_deepest_template_that_is_accepted_can_be_rendered(word: str) -> None:
    source = "{{ if .Messages }}{{ end }}" + f"{{{{ {word} }}}}" * 99 + "{{ .Response }}"
    template = GoTemplate.parse(source + "{{ end }}" * 99)
    with contextlib.suppress(TemplateError):
        template.render(Conversation(messages=[Message(role="user", content="x")]))
    flat = GoTemplate.parse("{{ if .Prompt }}" * 99 + "{{ .Prompt }}" + "{{ end }}" * 99)
    assert flat.render(Conversation(messages=[Message(role="user", content="x")])) == "x"


def test_ten_thousand_messages_are_no_burden() -> None:
    template = GoTemplate.parse(
        "{{ range $i, $_ := .Messages }}{{ $last := eq (len (slice $.Messages $i)) 1 }}"
        "{{ .Role }}:{{ .Content }}{{ if $last }}!{{ end }}\n{{ end }}"
    )
    turns = [Message(role="user" if at % 2 else "assistant", content="x") for at in range(10_000)]
    text = template.render(Conversation(messages=turns))
    assert text.count("\n") == 10_000
    assert text.endswith("x!\n")


def test_a_string_cut_inside_a_character_is_shown_with_a_replacement() -> None:
    template = GoTemplate.parse("{{ range .Messages }}{{ slice .Content 0 1 }}{{ end }}")
    got = template.render(Conversation(messages=[Message(role="user", content="é")]))
    assert got == "\ufffd"
