"""Every tool-call format: a call, two calls, text around them, odd and cut-off calls, typed arguments."""

import pytest

from mlx_ollama.parsers.output import pick_parser
from tests.golden.differences import Total
from tests.unit.parsers.every_parser import TOOLS, total

# One call of tide_level(harbour="Brest", days=3) in each format.
CALLS = {
    "hermes": '<tool_call>\n{"name": "tide_level", "arguments": {"harbour": "Brest", "days": 3}}\n</tool_call>',
    "qwen3-coder": "<tool_call>\n<function=tide_level>\n<parameter=harbour>\nBrest\n</parameter>\n"
    "<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>",
    "glm": "<tool_call>tide_level\n<arg_key>harbour</arg_key>\n<arg_value>Brest</arg_value>\n"
    "<arg_key>days</arg_key>\n<arg_value>3</arg_value>\n</tool_call>",
    "mistral": '[TOOL_CALLS]tide_level[ARGS]{"harbour": "Brest", "days": 3}',
    "deepseek": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>tide_level<｜tool▁sep｜>"
    '{"harbour": "Brest", "days": 3}<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
    "gemma4": '<|tool_call>call:tide_level{harbour:<|"|>Brest<|"|>,days:3}<tool_call|>',
    "functiongemma": "<start_function_call>call:tide_level{harbour:<escape>Brest<escape>,days:3}"
    "<end_function_call>",
    "lfm2": '<|tool_call_start|>[tide_level(harbour="Brest", days=3)]<|tool_call_end|>',
    "olmo3": '<function_calls>tide_level(harbour="Brest", days=3)</function_calls>',
    "kimi": "<|tool_calls_section_begin|><|tool_call_begin|>functions.tide_level:0"
    '<|tool_call_argument_begin|>{"harbour": "Brest", "days": 3}<|tool_call_end|>'
    "<|tool_calls_section_end|>",
    "minimax": '<minimax:tool_call>\n<invoke name="tide_level">\n<parameter name="harbour">Brest</parameter>\n'
    '<parameter name="days">3</parameter>\n</invoke>\n</minimax:tool_call>',
    "dsml": '<｜DSML｜function_calls>\n<｜DSML｜invoke name="tide_level">\n'
    '<｜DSML｜parameter name="harbour" string="true">Brest</｜DSML｜parameter>\n'
    '<｜DSML｜parameter name="days" string="false">3</｜DSML｜parameter>\n'
    "</｜DSML｜invoke>\n</｜DSML｜function_calls>",
    "seed": "<seed:tool_call>\n<function=tide_level>\n<parameter=harbour>Brest</parameter>\n"
    "<parameter=days>3</parameter>\n</function>\n</seed:tool_call>",
    "apertus": '<|tools_prefix|>[{"tide_level": {"harbour": "Brest", "days": 3}}]<|tools_suffix|>',
    "tool-calls": '<tool_calls>[{"name": "tide_level", "arguments": {"harbour": "Brest", "days": 3}}]</tool_calls>',
    "granite": '<|tool_call|>[{"name": "tide_level", "arguments": {"harbour": "Brest", "days": 3}}]',
    "nemotron": '<TOOLCALL>[{"name": "tide_level", "arguments": {"harbour": "Brest", "days": 3}}]</TOOLCALL>',
    "phi": 'functools[{"name": "tide_level", "arguments": {"harbour": "Brest", "days": 3}}]',
    "llama3": '{"name": "tide_level", "parameters": {"harbour": "Brest", "days": 3}}',
    "pythonic": '[tide_level(harbour="Brest", days=3)]',
    "json": '{"name": "tide_level", "arguments": {"harbour": "Brest", "days": 3}}',
}
TAGGED = [name for name in CALLS if name not in ("llama3", "pythonic", "json")]
ARGUMENTS = {"harbour": "Brest", "days": 3}


def read(name: str, reply: str) -> Total:
    return total(pick_parser(tools=TOOLS, tool_format=name), reply)


def names_and_arguments(result: Total) -> list[tuple[int, str, object]]:
    return [call[1:] for call in result.calls]


@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_read(name: str) -> None:
    result = read(name, CALLS[name])
    assert names_and_arguments(result) == [(0, "tide_level", ARGUMENTS)]
    assert result.content == ""


@pytest.mark.parametrize("name", CALLS)
def test_two_calls_are_counted(name: str) -> None:
    result = read(name, f"{CALLS[name]}\n{CALLS[name]}\n")
    assert names_and_arguments(result) == [
        (0, "tide_level", ARGUMENTS),
        (1, "tide_level", ARGUMENTS),
    ]
    assert result.content == ""


@pytest.mark.parametrize("name", TAGGED)
def test_text_before_and_after_a_call_is_content(name: str) -> None:
    result = read(name, f"Let me look.{CALLS[name]} That is it.")
    assert result.content == "Let me look. That is it."
    assert len(result.calls) == 1


@pytest.mark.parametrize("name", TAGGED)
def test_a_call_cut_off_inside_a_value_is_text(name: str) -> None:
    reply = CALLS[name][: CALLS[name].index("Brest") + 3]
    assert read(name, f"Well, {reply}") == Total(content=f"Well, {reply}")


@pytest.mark.parametrize("name", CALLS)
def test_without_tools_a_reply_is_content(name: str) -> None:
    assert total(pick_parser(tool_format=name), CALLS[name]) == Total(content=CALLS[name])


@pytest.mark.parametrize(
    "name", ["hermes", "qwen3-coder", "glm", "minimax", "mistral", "deepseek", "kimi"]
)
def test_the_closing_tag_may_be_part_of_a_value(name: str) -> None:
    closing = {"hermes": "</tool_call>", "glm": "</tool_call>", "qwen3-coder": "</tool_call>"}
    closing |= {
        "minimax": "</minimax:tool_call>",
        "mistral": "]",
        "deepseek": "<｜tool▁call▁end｜>",
    }
    tag = closing.get(name, "<|tool_call_end|>")
    result = read(name, CALLS[name].replace("Brest", f"a {tag} b"))
    assert names_and_arguments(result) == [(0, "tide_level", {"harbour": f"a {tag} b", "days": 3})]


@pytest.mark.parametrize("name", ["qwen3-coder", "glm"])
def test_a_value_that_does_not_fit_its_type_stays_text(name: str) -> None:
    assert read(name, CALLS[name].replace("3", "soon")).calls[0][3]["days"] == "soon"


def test_a_broken_call_is_text_and_the_next_one_is_read() -> None:
    broken = '<tool_call>{"name": "tide_level", "arguments": {"harbour": "Bre</tool_call>'
    result = read("hermes", f"{broken} {CALLS['hermes']}")
    assert result.content == broken
    assert len(result.calls) == 1


def test_an_id_that_a_format_carries_is_kept() -> None:
    assert read("kimi", CALLS["kimi"]).calls[0][0] == "functions.tide_level:0"
    call = '[TOOL_CALLS]tide_level[CALL_ID]abc123456[ARGS]{"harbour": "Brest"}'
    assert read("mistral", call).calls[0][0] == "abc123456"


def test_mistral_s_older_list_is_read() -> None:
    call = '[TOOL_CALLS] [{"name": "tide_level", "arguments": {"harbour": "Brest"}}]'
    assert names_and_arguments(read("mistral", call)) == [(0, "tide_level", {"harbour": "Brest"})]


def test_llama_s_tag_takes_json_and_calls_as_python() -> None:
    json_call = f"<|python_tag|>{CALLS['llama3']}; {CALLS['llama3']}"
    assert len(read("llama3", json_call).calls) == 2
    python_call = '<|python_tag|>brave_search.call(query="tides")'
    assert names_and_arguments(read("llama3", python_call)) == [
        (0, "brave_search", {"query": "tides"})
    ]


@pytest.mark.parametrize("name", ["llama3", "json"])
@pytest.mark.parametrize(
    "reply",
    ['{"answer": 42}', '{"name": "no_tool", "arguments": {}}', '{"name": "ping-light"}', "[1, 2]"],
)
def test_json_that_is_no_call_of_a_declared_tool_is_content(name: str, reply: str) -> None:
    assert read(name, reply) == Total(content=reply)


@pytest.mark.parametrize(
    "reply", ["[1, 2] numbers", "[see(the=docs)]", "[tide_level]", '["tide_level"]']
)
def test_a_list_that_is_no_call_of_a_declared_tool_is_content(reply: str) -> None:
    assert read("pythonic", reply) == Total(content=reply)


def test_a_call_needs_a_name_and_readable_arguments() -> None:
    for body in (
        '{"arguments": {}}',
        '{"name": "", "arguments": {}}',
        '{"name": "f", "arguments": [1]}',
    ):
        reply = f"<tool_call>{body}</tool_call>"
        assert read("hermes", reply) == Total(content=reply)


def test_arguments_may_be_absent_null_a_string_or_called_parameters() -> None:
    bodies = {
        '{"name": "f"}': {},
        '{"name": "f", "arguments": null}': {},
        '{"name": "f", "arguments": "{\\"a\\": 1}"}': {"a": 1},
        '{"name": "f", "parameters": {"a": 1}}': {"a": 1},
        '{"type": "function", "function": {"name": "f", "arguments": {"a": 1}}}': {"a": 1},
    }
    for body, arguments in bodies.items():
        assert read("hermes", f"<tool_call>{body}</tool_call>").calls == [("", 0, "f", arguments)]


@pytest.mark.parametrize("name", ["hermes", "olmo3", "gemma4", "lfm2"])
def test_white_space_around_calls_stays_where_it_belongs(name: str) -> None:
    call, odd = CALLS[name], CALLS[name].replace("tide_level", "").replace("name", "nom")
    before = "One" if name == "hermes" else "One \n"  # what the reference does with each
    result = read(name, f"One \n{call}\n{call} Two{odd} Three")
    assert result.content == f"{before} Two{odd} Three"
    assert len(result.calls) == 2
