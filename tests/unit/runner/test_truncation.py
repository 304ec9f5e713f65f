"""Making prompts fit (contract 5.2, 5.3)."""

import pytest

from mlx_ollama.api.messages import Message
from mlx_ollama.errors import InvalidRequest
from mlx_ollama.runner.truncation import clipped, fitting_messages


def messages(*roles: str) -> list[Message]:
    return [Message(role=role, content=str(place)) for place, role in enumerate(roles)]


def kept(roles: tuple[str, ...], limit: int) -> list[str]:
    found = fitting_messages(messages(*roles), len, limit)
    return [message.content for message in found]


def test_the_oldest_messages_go_first() -> None:
    assert kept(("user", "assistant", "user", "assistant", "user"), 3) == ["2", "3", "4"]


def test_system_messages_stay_in_front() -> None:
    assert kept(("system", "user", "assistant", "system", "user", "user"), 3) == ["0", "3", "5"]


def test_the_last_message_stays_even_if_it_is_too_long() -> None:
    assert kept(("user", "assistant", "user"), 0) == ["2"]


def test_what_fits_is_not_touched() -> None:
    assert kept(("user", "assistant"), 2) == ["0", "1"]


def test_a_long_history_is_rendered_a_few_times_only() -> None:
    calls = list[int]()

    def count(found: list[Message]) -> int:
        calls.append(len(found))
        return len(found)

    assert len(fitting_messages(messages(*["user"] * 1000), count, 10)) == 10
    assert len(calls) < 15


def test_a_prompt_is_clipped_in_its_middle_and_half_of_the_rest_stays_free() -> None:
    ids = list(range(100))
    assert clipped(ids, 20, 4, truncate=True, shift=True) == [*range(4), *range(92, 100)]


def test_a_prompt_that_leaves_room_for_one_token_is_kept() -> None:
    ids = list(range(19))
    assert clipped(ids, 20, 4, truncate=True, shift=True) == ids


def test_keeping_everything_fills_the_window() -> None:
    assert clipped(list(range(100)), 20, -1, truncate=True, shift=True) == list(range(19))


@pytest.mark.parametrize(("truncate", "shift"), [(True, False), (False, True), (False, False)])
def test_a_prompt_that_may_not_be_clipped_is_refused(truncate: bool, shift: bool) -> None:
    with pytest.raises(InvalidRequest, match="the prompt is longer than the context length"):
        clipped(list(range(100)), 20, 4, truncate=truncate, shift=shift)
