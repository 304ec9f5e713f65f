"""Stop strings over token borders."""

import pytest
from hypothesis import given, strategies as st

from mlx_ollama.runner.stop import StopMatcher


def run(stops: list[str], pieces: list[str]) -> tuple[str, bool]:
    matcher = StopMatcher(stops)
    out = "".join(matcher.add(piece) for piece in pieces)
    return out + matcher.finish(), matcher.is_stopped


@pytest.mark.parametrize("cut", range(12))
def test_a_stop_string_split_at_any_character_is_never_released(cut: int) -> None:
    text = "one two STOP"
    assert run(["STOP"], [text[:cut], text[cut:], " three"]) == ("one two ", True)


def test_text_that_only_began_like_a_stop_string_comes_out() -> None:
    matcher = StopMatcher(["STOP"])
    assert matcher.add("a ST") == "a "
    assert matcher.add("ART") == "START"


def test_what_is_held_back_at_the_end_is_text() -> None:
    assert run(["STOP"], ["a STO"]) == ("a STO", False)


def test_of_several_stop_strings_the_one_that_is_complete_first_counts() -> None:
    assert run(["bb", "abb"], ["xabb"]) == ("x", True)
    assert run(["abc", "b"], ["abc"]) == run(["abc", "b"], ["a", "b", "c"]) == ("a", True)


def test_an_empty_stop_string_ends_at_once() -> None:
    assert run([""], ["Hello"]) == ("", True)


def test_without_stop_strings_text_passes_at_once() -> None:
    assert StopMatcher([]).add("text") == "text"


@given(
    st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=3),
    st.lists(st.text("abc", max_size=3), max_size=12),
)
def test_the_result_does_not_depend_on_how_text_is_split(
    stops: list[str], pieces: list[str]
) -> None:
    text = "".join(pieces)
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    assert run(stops, pieces) == run(stops, list(text))
    if not places:
        assert run(stops, pieces) == (text, False)
