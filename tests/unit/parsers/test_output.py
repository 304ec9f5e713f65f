"""Which parser is picked, and what is inferred where nobody has said."""

import pytest

from mlx_ollama.api.messages import Message
from mlx_ollama.parsers.builtin import BUILTINS
from mlx_ollama.parsers.output import (
    AnswerFormat,
    infer,
    parser_info,
    pick_parser,
    tools_for_prompt,
)
from tests.golden.differences import Total
from tests.unit.parsers.every_parser import TOOLS, total

TAGS = ("<think>", "</think>")
TEMPLATES = {
    "hermes": "{% if tools %}<tools>{% endif %}<tool_call>\n{{ tool_call.name }}</tool_call>",
    "qwen3-coder": "{% for tool in tools %}<tool_call>\n<function=name>\n<parameter=a>",
    "glm": "<tool_call>{{ tc.name }}<arg_key>{{ k }}</arg_key>",
    "kimi": "<|tool_calls_section_begin|><|tool_call_begin|>",
    "minimax": "<minimax:tool_call>",
    "seed": "{%- set toolcall_begin_token = '<seed:tool_call>' -%}<function=a>",
    "dsml": "{%- set dsml_token = '｜DSML｜' %}<{{ dsml_token }}function_calls>",
    "tool-calls": "objects within <tool_call></tool_call>: <tool_calls>[{}]</tool_calls>",
    "deepseek": "{{'<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>'}}",
    "mistral": "[AVAILABLE_TOOLS][TOOL_CALLS]",
    "llama3": '{"name": function name, "parameters": dictionary of argument name and its value}',
    "pythonic": "[func_name1(params_name1=params_value1)]",
    "json": "{% for tool in tools %}{{ tool }}{% endfor %}",
    "": "{{ messages[0].content }}",
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_shows_its_tool_format(name: str) -> None:
    assert infer(TEMPLATES[name]).tool_format == name


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("<|start|>assistant<|channel|>final<|message|>", "harmony"),
        ("<|channel>thought\n<channel|><|tool_call>call:", "gemma4"),
        ("<|START_THINKING|><|START_ACTION|><|END_OF_TURN_TOKEN|>", "cohere"),
    ],
)
def test_formats_that_carry_everything_go_by_the_built_in_parser(template: str, name: str) -> None:
    assert infer(template) == AnswerFormat(name=name, tokens=BUILTINS[name].preserved_tokens)


def test_thinking_tags_are_found_in_the_template_before_the_vocabulary() -> None:
    assert infer("{{ content.split('</think>')[-1] }}").thinking_tags == TAGS
    both = {"[THINK]", "[/THINK]"}
    assert infer("<think></think>", both).thinking_tags == TAGS
    assert infer("{{ messages }}", both).thinking_tags == ("[THINK]", "[/THINK]")
    assert infer("{{ messages }}", {"[THINK]"}).thinking_tags is None


def test_a_silent_template_leaves_the_tool_format_to_the_vocabulary() -> None:
    words = {"<|tool_call_start|>", "<|tool_call_end|>"}
    assert infer("{{ messages }}", words).tool_format == "lfm2"


def test_what_is_inferred_says_which_tokens_must_be_seen() -> None:
    assert infer("<think></think><tool_call>").tokens == (*TAGS, "<tool_call>", "</tool_call>")


def test_nothing_known_means_all_content() -> None:
    assert infer() == AnswerFormat()
    assert total(pick_parser(), "<think>a</think>b") == Total(content="<think>a</think>b")


def test_thinking_is_read_when_asked_for() -> None:
    reply = "<think>\nhm\n</think>\n\nYes."
    assert total(pick_parser(think=True, thinking_tags=TAGS), reply) == Total("Yes.", "hm\n")
    assert total(pick_parser(think=False, thinking_tags=TAGS), reply) == Total(reply)


def test_a_prompt_that_opens_the_thinking_starts_the_reply_inside_it() -> None:
    parser = pick_parser(think=True, thinking_tags=TAGS, prompt="<|assistant|>\n<think>\n")
    assert parser.is_thinking
    assert total(parser, "hm</think>Yes.") == Total("Yes.", "hm")


def test_a_grammar_may_start_when_thinking_ends() -> None:
    parser = pick_parser(think=True, thinking_tags=TAGS)
    states = [parser.is_thinking]
    for piece in ("<think>", "hm", "</thi", "nk>", "\n", "{"):
        parser.add(piece)
        states.append(parser.is_thinking)
    assert states == [True, True, True, True, True, True, False]


def test_a_reply_that_does_not_think_shows_it_at_its_first_word() -> None:
    parser = pick_parser(think=True, thinking_tags=TAGS)
    assert parser.add("Yes").content == "Yes"
    assert not parser.is_thinking


@pytest.mark.parametrize("name", ["qwen3.5", "gemma4", "harmony", "cohere", "lfm2-thinking"])
def test_built_in_parsers_know_that_they_may_think_before_the_first_word(name: str) -> None:
    assert pick_parser(name, think=True).is_thinking


@pytest.mark.parametrize("name", ["qwen3", "qwen3-coder", "olmo3", "passthrough", "ministral"])
def test_parsers_without_thinking_never_wait_for_it(name: str) -> None:
    assert not pick_parser(name, think=True).is_thinking


def test_an_answer_that_is_continued_does_not_think_again() -> None:
    last = Message(role="assistant", content="So far")
    assert not pick_parser("qwen3.5", think=True, last_message=last).is_thinking
    assert total(pick_parser("harmony", last_message=last), " and on") == Total(" and on")


def test_an_unknown_parser_is_an_error() -> None:
    assert parser_info("nope") is None
    with pytest.raises(KeyError):
        pick_parser("nope")


def test_harmony_s_tools_are_named_as_identifiers_in_the_prompt_only() -> None:
    names = [tool.function.name for tool in tools_for_prompt("harmony", TOOLS)]
    assert names == ["tide_level", "ping_light"]
    assert [tool.function.name for tool in TOOLS] == ["tide_level", "ping-light"]
    reply = "<|channel|>commentary to=functions.ping_light<|message|>{}"
    assert total(pick_parser("harmony", tools=TOOLS), reply).calls == [("", 0, "ping-light", {})]


def test_other_formats_leave_tools_alone() -> None:
    assert tools_for_prompt("qwen3", TOOLS) == TOOLS
