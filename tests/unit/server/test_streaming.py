"""Progress lines are thinned out, and none that matters is lost."""

from collections.abc import AsyncGenerator

import pytest

from mlx_ollama.api.models import Progress
from mlx_ollama.server import streaming
from mlx_ollama.server.streaming import spaced

pytestmark = pytest.mark.anyio


async def _lines(*lines: Progress) -> AsyncGenerator[Progress, None]:
    for line in lines:
        yield line


def _work(completed: int) -> Progress:
    return Progress(status="work", total=9, completed=completed)


async def test_the_first_and_the_last_line_of_a_step_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streaming, "SPACE_SECONDS", 60.0)
    steps = [_work(number) for number in range(10)]
    told = [
        line
        async for line in spaced(
            _lines(Progress(status="begin"), *steps, Progress(status="success"))
        )
    ]
    assert told == [Progress(status="begin"), _work(0), _work(9), Progress(status="success")]


async def test_slow_lines_are_all_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "SPACE_SECONDS", 0.0)
    steps = [_work(number) for number in range(10)]
    assert [line async for line in spaced(_lines(*steps))] == steps


async def test_an_error_comes_through_and_ends_the_work() -> None:
    ended: list[bool] = []

    async def failing() -> AsyncGenerator[Progress, None]:
        try:
            yield _work(1)
            raise ValueError
        finally:
            ended.append(True)

    with pytest.raises(ValueError):  # noqa: PT011 - the one raised here
        async for _ in spaced(failing()):
            pass
    assert ended == [True]
