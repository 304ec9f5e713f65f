"""R-10, R-11: what a runner's end costs, and whom."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from mlx_ollama.errors import LoadFailed, RunnerStopped
from mlx_ollama.ipc.messages import Delta, Generate
from mlx_ollama.supervisor.spec import Limits
from mlx_ollama.supervisor.supervisor import Supervisor
from tests.fakes.runner import Script, Trouble
from tests.unit.supervisor.conftest import Stage, ask, spec, text, until

pytestmark = pytest.mark.anyio
STOPPED = "model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, check ollama server logs for details"


async def _until_it_stops(supervisor: Supervisor) -> tuple[list[str], RunnerStopped | None]:
    said: list[str] = []
    async with supervisor.lease(spec()) as lease:
        try:
            async for event in lease.request(Generate(id=0)):
                said.extend([event.content] if isinstance(event, Delta) else [])
        except RunnerStopped as error:
            return said, error
    return said, None


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("crash", ": signal 9 (SIGKILL)"),
        ("exit", ": exit status 0"),
        ("garbage", ": broken connection"),
        ("close", ": signal 9 (SIGKILL)"),
    ],
)
async def test_a_runner_that_ends_in_mid_stream_costs_one_error(
    stage: Stage, trouble: Trouble, reason: str
) -> None:
    script = Script(trouble=trouble, after=2, marker=stage.marker)
    async with stage.supervisor(script) as supervisor:
        said, error = await _until_it_stops(supervisor)
        assert said == ["Hello", " there"]
        assert str(error) == STOPPED + reason
        assert await ask(supervisor) == "Hello there."
    assert len(set(stage.pids())) == 2


async def test_every_request_on_it_gets_the_error(stage: Stage) -> None:
    script = Script(trouble="wait", after=1, parallel=3)
    async with stage.supervisor(script) as supervisor:
        running = [asyncio.create_task(ask(supervisor)) for _ in range(3)]
        await until(lambda: len(stage.journal("wait")) == 3)
        os.kill(stage.pids()[0], signal.SIGSEGV)
        async with asyncio.timeout(1):
            results = await asyncio.gather(*running, return_exceptions=True)
    assert {str(result) for result in results} == {STOPPED + ": signal 11 (SIGSEGV)"}


async def test_a_request_that_has_sent_nothing_is_retried_once(stage: Stage) -> None:
    script = Script(trouble="crash", after=0, marker=stage.marker)
    async with stage.supervisor(script) as supervisor:
        assert await ask(supervisor) == "Hello there."
    assert len(stage.pids()) == 2


async def test_it_is_not_retried_twice(stage: Stage) -> None:
    async with stage.supervisor(Script(trouble="crash", after=0)) as supervisor:
        with pytest.raises(RunnerStopped):
            await ask(supervisor)
    assert len(stage.pids()) == 2


async def test_a_waiting_request_moves_to_the_next_runner(stage: Stage) -> None:
    script = Script(trouble="wait", after=1, marker=stage.marker, parallel=1)
    async with stage.supervisor(script) as supervisor:
        first = asyncio.create_task(ask(supervisor))
        await until(lambda: stage.journal("wait"))
        second = asyncio.create_task(ask(supervisor))
        await asyncio.sleep(0)
        os.kill(stage.pids()[0], signal.SIGKILL)
        with pytest.raises(RunnerStopped):
            await first
        assert await second == "Hello there."


async def test_a_runner_that_hangs_is_killed(stage: Stage) -> None:
    script = Script(trouble="hang", after=1, marker=stage.marker)
    async with stage.supervisor(script, hang_timeout=200_000_000) as supervisor:
        with pytest.raises(RunnerStopped, match=r"no sign of life for 0\.2 s"):
            await ask(supervisor)
        assert await ask(supervisor) == "Hello there."


async def test_a_load_without_progress_is_killed(stage: Stage) -> None:
    script = Script(load_trouble="hang")
    async with stage.supervisor(script, load_timeout=300_000_000) as supervisor:
        with pytest.raises(LoadFailed, match="no sign of life"):
            await ask(supervisor)


async def test_a_slow_load_with_progress_is_not(stage: Stage) -> None:
    script = Script(load_steps=10, load_seconds=0.1)
    async with stage.supervisor(script, load_timeout=600_000_000) as supervisor:
        assert await ask(supervisor) == "Hello there."


async def test_an_idle_runner_that_dies_is_replaced(stage: Stage) -> None:
    async with stage.supervisor() as supervisor:
        await ask(supervisor)
        os.kill(stage.pids()[0], signal.SIGKILL)
        await until(lambda: not supervisor.loaded())
        assert await ask(supervisor) == "Hello there."


async def test_a_fault_in_loading_is_the_answer(stage: Stage) -> None:
    async with stage.supervisor(Script(load_trouble="fault")) as supervisor:
        for _ in range(4):
            with pytest.raises(LoadFailed, match=r"^it went wrong$"):
                await ask(supervisor)


async def test_a_crash_in_loading_is_named(stage: Stage) -> None:
    async with stage.supervisor(Script(load_trouble="crash")) as supervisor:
        with pytest.raises(LoadFailed, match=r"signal 9 \(SIGKILL\)"):
            await ask(supervisor)


async def test_a_model_that_keeps_crashing_is_left_alone_for_a_while(stage: Stage) -> None:
    async with stage.supervisor(Script(load_trouble="crash")) as supervisor:
        for _ in range(3):
            with pytest.raises(LoadFailed, match="SIGKILL"):
                await ask(supervisor)
        with pytest.raises(LoadFailed, match="keeps crashing"):
            await ask(supervisor)
        with pytest.raises(LoadFailed, match="SIGKILL"):
            await ask(supervisor, spec("other"))
    assert len(stage.pids()) == 4


async def test_a_command_that_does_not_exist_is_a_clear_error() -> None:
    supervisor = Supervisor(Limits(command=("no-such-program",)))
    with pytest.raises(LoadFailed, match="cannot start a model runner"):
        await ask(supervisor)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_a_runner_sees_no_secret_and_no_file_of_ours(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hunter2")
    monkeypatch.setenv("MLX_API_KEY", "hunter2")
    monkeypatch.setenv("HTTPS_PROXY", "hunter2")
    async with stage.supervisor() as supervisor, supervisor.lease(spec()) as lease:
        process = Path(f"/proc/{stage.pids()[0]}")
        environment = (process / "environ").read_bytes()
        assert b"PATH=" in environment
        assert b"hunter2" not in environment
        assert str((process / "cwd").readlink()) == "/"
        assert str((process / "fd" / "0").readlink()) == "/dev/null"
        assert len(list((process / "fd").iterdir())) < 16
        assert await text(lease) == "Hello there."
