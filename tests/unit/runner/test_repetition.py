"""Answers that would never end."""

import random

import pytest

from mlx_ollama.runner.repetition import MIN_ROUNDS, MIN_TOKENS, Circle, IdenticalChunks


def ends_at(ids: list[int]) -> int | None:
    """After how many ids a circle is noticed."""
    circle, so_far = Circle(), list[int]()
    for token in ids:
        so_far.append(token)
        if circle.is_endless(so_far):
            return len(so_far)
    return None


def line(length: int, seed: int) -> list[int]:
    draw = random.Random(seed)
    return [draw.randrange(12) for _ in range(length)]  # few kinds: pieces of it recur inside


@pytest.mark.parametrize("length", [1, 2, 7, 25, 100, 512])
def test_a_circle_is_noticed_whatever_its_length(length: int) -> None:
    before, wanted = line(300, 1), max(MIN_TOKENS, MIN_ROUNDS * length)
    found = ends_at(before + line(length, 2) * (2000 // length + 60))
    assert found is not None
    assert wanted <= found - len(before) <= wanted + 3 * length + 16


def test_a_long_answer_that_does_not_repeat_goes_on() -> None:
    assert ends_at(line(20_000, 3)) is None


def test_lines_that_differ_a_little_are_no_circle() -> None:
    counted = [token for number in range(2000) for token in (1, 2, 3, 4, 5, 100 + number)]
    assert ends_at(counted) is None


def test_a_circle_that_is_left_in_time_goes_on() -> None:
    assert ends_at((line(25, 4) * 30 + [99]) * 3) is None


def test_chunks_that_differ_only_in_blanks_are_the_same() -> None:
    chunks = IdenticalChunks()
    assert [chunks.is_endless("a" if number % 2 else " a ") for number in range(32)].index(
        True
    ) == 31
