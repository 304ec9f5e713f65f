"""Token events to what the server is told."""

from collections.abc import Callable, Sequence

import pytest

from mlx_ollama.api.messages import ToolCall, ToolCallFunction
from mlx_ollama.engine.sequence import (
    FaultEvent,
    FinishEvent,
    FinishReason,
    PrefillEvent,
    TokenEvent,
    TokenLogprob,
)
from mlx_ollama.ipc.messages import Delta, Done, Fault, FromRunner, Progress
from mlx_ollama.parsers.output import pick_parser
from mlx_ollama.parsers.parser import OutputParser, Parsed, ParseError
from mlx_ollama.runner.answer import Answer, Wanted
from mlx_ollama.runner.metrics import Step
from mlx_ollama.runner.tokenizer import Tokenizer
from tests.unit.runner.conftest import byte_level, load

TOKENIZER = load(byte_level(), eos_token="<|im_end|>")
END = TOKENIZER.id_of("<|im_end|>") or 0
STEP = Step(1000, 2000)


def answer(parser: Callable[[], OutputParser] | None = None, **wanted: object) -> Answer:
    fields = {"id": 7, "prompt_ids": [1, 2, 3], "end_tokens": frozenset([END]), **wanted}
    return Answer(Wanted(**fields), TOKENIZER, parser)  # pyright: ignore[reportArgumentType]


def play(
    target: Answer, ids: Sequence[int], finish: FinishReason | None = FinishReason.LENGTH
) -> list[FromRunner]:
    """Feed tokens, the last one with `finish`, until a restart is asked for; all that comes out."""
    out = list[FromRunner]()
    for place, token in enumerate(ids):
        if target.restart:
            break
        last = finish if place == len(ids) - 1 else None
        out += target.take(TokenEvent(id=7, token=token, logprob=-0.5, finish=last), STEP)
    return out


def content(messages: Sequence[FromRunner]) -> str:
    return "".join(message.content for message in messages if isinstance(message, Delta))


def thinking(messages: Sequence[FromRunner]) -> str:
    return "".join(message.thinking for message in messages if isinstance(message, Delta))


def ids(text: str, tokenizer: Tokenizer = TOKENIZER) -> list[int]:
    return tokenizer.encode(text)


def last(messages: Sequence[FromRunner]) -> Done:
    assert isinstance(messages[-1], Done)
    assert sum(isinstance(message, Done | Fault) for message in messages) == 1
    return messages[-1]


def test_every_token_s_text_goes_out_and_the_end_is_said_once() -> None:
    out = play(answer(), ids("hi é"))
    assert content(out) == "hi é"
    assert last(out).reason == "length"


def test_an_end_token_counts_but_is_no_text() -> None:
    out = play(answer(context=True), [*ids("hi"), END], FinishReason.STOP)
    assert content(out) == "hi"
    assert last(out).reason == "stop"
    assert last(out).metrics.eval_count == 2
    assert last(out).context == [1, 2, 3, *ids("hi")]


def test_a_control_token_is_no_text_unless_it_is_read() -> None:
    text = "a<|call|>b"
    assert content(play(answer(), ids(text))) == "ab"
    assert content(play(answer(shown=lambda token: token == "<|call|>"), ids(text))) == text


def test_an_added_token_that_is_no_control_token_is_text() -> None:
    assert content(play(answer(), ids("a<think>b"))) == "a<think>b"


def test_a_stop_string_ends_the_answer_in_the_middle_of_a_token() -> None:
    target = answer(stops=["ih"], context=True)
    out = play(target, ids("hihihi"), None)
    assert content(out) == "h"
    assert last(out).reason == "stop"
    assert last(out).context == [1, 2, 3, *ids("h")]
    assert play(target, ids("more")) == []


def test_an_empty_stop_string_ends_at_the_first_token() -> None:
    out = play(answer(stops=[""], context=True), ids("hi"), None)
    assert content(out) == ""
    assert last(out).metrics.eval_count == 1
    assert last(out).context == [1, 2, 3]


def test_text_held_back_for_a_stop_string_comes_out_at_the_end() -> None:
    out = play(answer(stops=["hi there"]), [*ids("hi"), END], FinishReason.STOP)
    assert content(out) == "hi"


def test_thirty_one_identical_chunks_after_the_first_end_the_answer() -> None:
    out = play(answer(), ids("a") * 50, None)
    assert content(out) == "a" * 32
    assert last(out).reason == "stop"


def test_an_endless_answer_in_a_format_is_not_called_complete() -> None:
    out = play(answer(has_format=True), ids("a") * 50, None)
    assert last(out).reason == "length"


def test_log_probabilities_leave_with_their_text() -> None:
    out = play(answer(logprobs=True, stops=["hi hi hi"]), [*ids("hi hi"), END], FinishReason.STOP)
    deltas = [message for message in out if isinstance(message, Delta)]
    tokens = [entry.token for delta in deltas for entry in delta.logprobs]
    assert tokens == ["hi", " hi"]


def test_the_log_probabilities_of_a_stop_string_stay_inside() -> None:
    out = play(answer(logprobs=True, stops=[" hi"]), ids("hi hi"), None)
    deltas = [message for message in out if isinstance(message, Delta)]
    assert [entry.token for delta in deltas for entry in delta.logprobs] == ["hi"]


def test_a_part_of_a_character_has_its_bytes() -> None:
    out = play(answer(logprobs=True), ids("é"))
    entries = [entry for m in out if isinstance(m, Delta) for entry in m.logprobs]
    assert [entry.bytes for entry in entries] == [[0xC3], [0xA9]]
    assert content(out) == "é"


def test_alternatives_are_listed_where_they_were_asked_for() -> None:
    target = answer(logprobs=True, top_logprobs=1)
    top = (TokenLogprob(ids("a")[0], -0.1), TokenLogprob(ids("b")[0], -0.2))
    (delta,) = target.take(TokenEvent(id=7, token=ids("a")[0], logprob=-0.1, top=top), STEP)
    assert isinstance(delta, Delta)
    found = delta.logprobs[0].top_logprobs
    assert isinstance(found, list)
    assert [entry.token for entry in found] == ["a"]


def test_metrics_are_positive_even_for_an_instant() -> None:
    metrics = last(play(answer(), ids("a"))).metrics
    assert (metrics.prompt_eval_count, metrics.eval_count) == (3, 1)
    assert metrics.prompt_eval_duration == 1000
    assert metrics.eval_duration == 1


def test_prefill_is_progress_and_says_what_was_cached() -> None:
    target = answer()
    out = target.take(PrefillEvent(id=7, done=2, total=3, cached=1), STEP)
    assert out == [Progress(id=7, completed=2, total=3)]
    assert last(play(target, ids("a"))).metrics.cached == 1


def test_an_abort_and_a_fault_of_the_engine_are_last_words() -> None:
    aborted = answer()
    assert last(aborted.take(FinishEvent(id=7, finish=FinishReason.ABORT), STEP)).reason == "abort"
    failed = answer().take(FaultEvent(id=7, message="no room", kind="busy"), STEP)
    assert failed == [Fault(id=7, kind="busy", message="no room")]


class Refusing:
    is_thinking = False

    def add(self, text: str, *, done: bool = False) -> Parsed:
        raise ParseError("no such format")


def test_output_that_a_parser_forbids_is_a_fault() -> None:
    assert play(answer(Refusing), ids("a"), None) == [Fault(id=7, message="no such format")]


class Calling:
    is_thinking = False

    def add(self, text: str, *, done: bool = False) -> Parsed:
        call = ToolCall(id="call_1", function=ToolCallFunction(name="f"))
        return Parsed(tool_calls=[call] if done else [])


def test_calls_that_a_parser_finds_at_the_end_come_before_the_last_word() -> None:
    delta, done = play(answer(Calling), ids("a"))
    assert isinstance(delta, Delta)
    assert delta.tool_calls[0].function.name == "f"
    assert isinstance(done, Done)


# ---- a grammar after thinking


def thinker(prompt: str = "") -> OutputParser:
    return pick_parser(think=True, thinking_tags=("<think>", "</think>"), prompt=prompt)


def test_a_grammar_waits_only_where_an_answer_may_think() -> None:
    assert answer(thinker, has_format=True).is_constrained_later
    assert not answer(pick_parser, has_format=True).is_constrained_later
    assert not answer(None, has_format=True).is_constrained_later


def test_content_after_thinking_is_taken_back_and_the_sequence_restarted() -> None:
    target = answer(thinker, has_format=True)
    out = play(target, ids("<think>hm</think>\n\nhi"), None)
    assert (thinking(out), content(out)) == ("hm", "")
    assert target.restart
    assert TOKENIZER.decode(target.ids).startswith("<think>hm</think>")
    target.restart = False
    rest = play(target, ids("{}"))
    assert content(rest) == "{}"
    assert last(rest).metrics.eval_count == len(target.ids)


def test_an_answer_that_does_not_think_starts_anew_under_the_grammar() -> None:
    target = answer(thinker, has_format=True, logprobs=True)
    assert play(target, ids("hi")[:1], None) == []
    assert target.restart
    assert target.ids == []


def test_an_answer_that_ends_while_thinking_is_not_restarted() -> None:
    target = answer(thinker, has_format=True)
    out = play(target, [*ids("<think>hm"), END], FinishReason.STOP)
    assert thinking(out) == "hm"
    assert last(out).reason == "stop"
    assert not target.restart


@pytest.mark.parametrize("text", ["<thx", "  <b>"])
def test_what_only_looked_like_thinking_is_taken_back_whole(text: str) -> None:
    target = answer(thinker, has_format=True)
    play(target, ids(text), None)
    assert target.restart
    assert TOKENIZER.decode(target.ids).strip() == ""
