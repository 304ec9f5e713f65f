"""R-01, R-05: many clients of more models than fit, who leave and whose runners are killed at random."""

import asyncio
import gc
import os
import random
import signal
from pathlib import Path

import pytest

from mlx_ollama.errors import Busy, LoadFailed, RunnerStopped
from mlx_ollama.supervisor.supervisor import Supervisor
from tests.fakes.runner import Script
from tests.unit.supervisor.conftest import Stage, ask, spec, until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(90)]
CLIENTS, ROUNDS = 12, 8


def descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


class Clients:
    """Each asks, waits, or leaves early, by a chance of its own."""

    def __init__(self, supervisor: Supervisor, stage: Stage) -> None:
        self.supervisor, self.stage = supervisor, stage
        self.answers: list[str] = []
        self.errors: list[Exception] = []

    async def run(self, number: int) -> None:
        chance = random.Random(number)
        for _ in range(ROUNDS):
            model = spec(chance.choice("abc"), num_ctx=chance.choice([0, 0, 0, 512]))
            keep_alive = chance.choice([None, None, 0, 10**10])
            task = asyncio.create_task(ask(self.supervisor, model, keep_alive=keep_alive))
            if chance.random() < 0.2:
                await asyncio.sleep(chance.random() / 50)
                task.cancel()
            if chance.random() < 0.05:
                self.kill_one(chance)
            await self.collect(task)

    def kill_one(self, chance: random.Random) -> None:
        pids = self.stage.pids()
        if pids:
            try:
                os.kill(chance.choice(pids[-3:]), signal.SIGKILL)
            except ProcessLookupError:
                return

    async def collect(self, task: asyncio.Task[str]) -> None:
        try:
            self.answers.append(await task)
        except asyncio.CancelledError:
            return
        except (RunnerStopped, LoadFailed, Busy) as error:
            self.errors.append(error)


async def test_everybody_gets_an_answer_or_a_clear_error_and_nothing_is_left_behind(
    stage: Stage,
) -> None:
    stage.patience = 80
    script = Script(say=["a", "b", "c"], delay=0.002, parallel=2)
    before, tasks = descriptors(), len(asyncio.all_tasks())
    async with stage.supervisor(script, max_loaded=2, parallel=2) as supervisor:
        clients = Clients(supervisor, stage)
        await asyncio.gather(*(clients.run(number) for number in range(CLIENTS)))
        assert set(clients.answers) == {"abc"}
        assert len(clients.answers) > CLIENTS * ROUNDS // 2
        assert len(supervisor.loaded()) <= 2
        assert await ask(supervisor, spec("d")) == "abc"
    gc.collect()
    await until(lambda: len(asyncio.all_tasks()) <= tasks)
    assert descriptors() <= before
