"""Who is admitted, who prefills how far, and how large a chunk may be."""

import pytest

from mlx_ollama.engine.scheduler import (
    MAX_CHUNK,
    MIN_CHUNK,
    Admission,
    Chunk,
    ChunkSize,
    Plan,
    Prefilling,
    Waiting,
    admit,
    plan,
)


def waiting(*sizes: int) -> list[Waiting]:
    return [Waiting(id=i, bytes=size) for i, size in enumerate(sizes)]


def test_rows_are_filled_in_order_of_arrival() -> None:
    assert admit(waiting(1, 1, 1), 1, 3, 100) == Admission(admit=(0, 1))
    assert admit(waiting(1), 3, 3, 100) == Admission()


def test_a_large_request_is_not_overtaken() -> None:
    assert admit(waiting(90, 1), 1, 8, 50) == Admission()
    assert admit(waiting(10, 90, 1), 0, 8, 50) == Admission(admit=(0,))


def test_what_can_never_fit_is_refused() -> None:
    assert admit(waiting(90, 1), 0, 8, 50) == Admission(refuse=(0,))


PROMPTS = [Prefilling(id=1, tokens=10), Prefilling(id=2, tokens=100), Prefilling(id=3, tokens=5)]


def test_oldest_prompt_is_fed_beside_decoding_rows() -> None:
    assert plan(PROMPTS, [7, 8], 64) == Plan(prefill=(Chunk(id=1, tokens=10),), decode=(7, 8))
    assert plan(PROMPTS, [7], 8).prefill == (Chunk(id=1, tokens=8),)
    assert plan([], [7], 8) == Plan(decode=(7,))


def test_prompts_share_a_chunk_where_nobody_waits() -> None:
    assert plan(PROMPTS, [], 64).prefill == (Chunk(id=1, tokens=10), Chunk(id=2, tokens=54))


@pytest.mark.parametrize("seconds_a_token", [0.0001, 0.001, 0.005])
def test_chunks_find_the_size_that_takes_the_target_time(seconds_a_token: float) -> None:
    size = ChunkSize(0.15)
    for _ in range(30):
        tokens = size.tokens(others_decode=True)
        size.observe(tokens, 0.002 + tokens * seconds_a_token)
    taken = 0.002 + size.tokens(others_decode=True) * seconds_a_token
    assert size.tokens(others_decode=True) == MAX_CHUNK or 0.12 < taken <= 0.151


def test_chunks_shrink_at_once_and_never_vanish() -> None:
    size = ChunkSize(0.15)
    for _ in range(10):
        size.observe(size.tokens(others_decode=True), 30.0)
    assert size.tokens(others_decode=True) == MIN_CHUNK
    assert size.tokens(others_decode=False) == MAX_CHUNK


def test_the_rest_of_a_prompt_says_nothing_of_larger_chunks() -> None:
    size = ChunkSize(0.15)
    before = size.tokens(others_decode=True)
    size.observe(3, 0.1)
    assert size.tokens(others_decode=True) == before
    size.observe(3, 0.9)
    assert size.tokens(others_decode=True) < before
