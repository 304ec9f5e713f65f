"""Text made to hurt a parser: it ends as text, whole, and nothing is ever run."""

import pytest

from mlx_ollama.parsers.output import pick_parser
from tests.unit.parsers.every_parser import PARSERS, TOOLS, Total, total

SIZE = 120_000  # quadratic work at this size takes minutes
OPENINGS = {
    "qwen3 False": '<tool_call>{"name": "tide_level", "arguments": ',
    "qwen3-coder False": "<tool_call><function=tide_level><parameter=list>",
    "glm-4.7 False": "<tool_call>tide_level<arg_key>list</arg_key><arg_value>",
    "ministral False": "[TOOL_CALLS]tide_level[ARGS]",
    "deepseek3 False": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>tide_level<｜tool▁sep｜>",
    "olmo3 False": "<function_calls>tide_level(list=",
    "lfm2 False": "<|tool_call_start|>[tide_level(list=",
    "gemma4 False": "<|tool_call>call:tide_level{list:",
    "functiongemma False": "<start_function_call>call:tide_level{list:",
    "cohere False": "<|START_ACTION|>",
    "laguna False": "<tool_call>tide_level",
    "glimmer False": " to=tide_level<|message|><atem:function_calls>",
    "harmony False": "<|channel|>commentary to=functions.tide_level<|message|>",
    "format llama3": "<|python_tag|>",
    "format kimi": "<|tool_calls_section_begin|><|tool_call_begin|>functions.tide_level:0"
    "<|tool_call_argument_begin|>",
    "format minimax": '<minimax:tool_call><invoke name="tide_level"><parameter name="list">',
    "tag {": "",
    "tag [": "",
    "tag <tool_call>": "<tool_call>",
}
BODIES = {
    "brackets": "[" * SIZE,
    "objects": '{"a":' * 50_000,
    "digits": '{"days": ' + "9" * 100_000 + "}",
    "quotes": '"' * SIZE,
    "backslashes": '{"' + "\\" * SIZE,
    "blanks": " \n" * (SIZE // 2),
    "tags": "<" * SIZE,
    "calls that never end": '<tool_call>{"' * (SIZE // 13),
    "calls that end in strings": '<tool_call>{"</tool_call>' * (SIZE // 25),
    "parameters": "<parameter=a>\n" * (SIZE // 14),
    "keys": "<arg_key>k</arg_key><arg_value>v" * (SIZE // 32),
    "delimiters": '<|"|><escape>' * (SIZE // 13),
    "arguments": "a=(" * (SIZE // 3),
    "headers": "<|start|>assistant<|channel|>x" * (SIZE // 30),
    "code": "__import__('os').system('touch ran') " * (SIZE // 37),
}


def chunks(text: str) -> list[str]:
    return [text[start : start + 4096] for start in range(0, len(text), 4096)]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("name", OPENINGS)
def test_it_ends_as_text_and_none_of_it_is_lost(name: str, body: str) -> None:
    reply = OPENINGS[name] + BODIES[body]
    result = total(PARSERS[name](), *chunks(reply))
    if not result.calls:
        assert kept(result) >= len(BODIES[body].strip()) * 0.9


def kept(result: Total) -> int:
    return len(result.content) + len(result.thinking)


@pytest.mark.parametrize("name", PARSERS)
def test_a_reply_one_character_at_a_time_takes_no_longer_by_its_length(name: str) -> None:
    reply = OPENINGS.get(name, "<tool_call>") + '{"a": "' * 3000
    result = total(PARSERS[name](), *reply)
    assert kept(result) > 0


def test_a_number_too_big_for_64_bits_is_a_float_and_one_too_big_for_that_is_text() -> None:
    call = '<tool_call>{"name": "tide_level", "arguments": {"days": %s}}</tool_call>'
    big = total(pick_parser("qwen3"), call % 10**30)
    assert big.calls[0][3] == {"days": 1e30}
    huge = total(pick_parser("qwen3"), call % ("9" * 400))
    assert (huge.calls, huge.content) == ([], call % ("9" * 400))


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_json_cannot_carry_is_text(word: str) -> None:
    reply = f'<tool_call>{{"name": "tide_level", "arguments": {{"days": {word}}}}}</tool_call>'
    assert total(pick_parser("qwen3"), reply) == Total(content=reply)


def test_half_a_surrogate_becomes_a_character_that_can_be_sent() -> None:
    reply = '<tool_call>{"name": "tide_level", "arguments": {"harbour": "\\ud83d!"}}</tool_call>'
    assert total(pick_parser("qwen3", tools=TOOLS), reply).calls[0][3] == {"harbour": "\ufffd!"}


def test_nesting_beyond_the_limit_is_text() -> None:
    def reply(depth: int) -> str:
        value = "[" * depth + "]" * depth
        return f'<tool_call>{{"name": "tide_level", "arguments": {{"list": {value}}}}}</tool_call>'

    assert total(pick_parser("qwen3"), reply(50)).calls
    assert total(pick_parser("qwen3"), reply(100)) == Total(content=reply(100))
