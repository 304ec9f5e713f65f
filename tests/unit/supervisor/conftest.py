"""A supervisor over fake runners, and waiting for what happens in them."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mlx_ollama.ipc.messages import Delta, Generate, Load
from mlx_ollama.supervisor.lease import Lease
from mlx_ollama.supervisor.spec import Limits, RunnerSpec
from mlx_ollama.supervisor.supervisor import Supervisor
from tests.fakes.runner import Script, command, journal


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Stage:
    """What a test of the supervisor plays on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.patience = 10.0  # seconds

    @asynccontextmanager
    async def supervisor(
        self, script: Script | None = None, **limits: Any
    ) -> AsyncGenerator[Supervisor, None]:
        script = script or Script()
        script.journal = str(self.folder / "journal")
        supervisor = Supervisor(Limits(command=command(script), openblas="", **limits))
        try:
            async with asyncio.timeout(self.patience):  # a hang is a failure with a traceback
                yield supervisor
        finally:
            await supervisor.close(0)

    @property
    def marker(self) -> str:
        return str(self.folder / "marker")

    def journal(self, beginning: str = "") -> list[str]:
        return [line for line in journal(self.folder / "journal") if line.startswith(beginning)]

    def pids(self) -> list[int]:
        return [int(line.rsplit(" ", 1)[1]) for line in self.journal("load")]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def spec(name: str = "m", digest: str = "", num_ctx: int = 0, size: int = 0) -> RunnerSpec:
    digest = digest or f"digest of {name}"
    return RunnerSpec(load=Load(model=name, digest=digest, num_ctx=num_ctx, parallel=2), size=size)


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that another process brings about."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.005)


async def text(lease: Lease, prompt: str = "hi") -> str:
    """The whole answer to a prompt."""
    said = ""
    async for event in lease.request(Generate(id=0, prompt=prompt)):
        if isinstance(event, Delta):
            said += event.content
    return said


async def ask(supervisor: Supervisor, wanted: RunnerSpec | None = None, **options: Any) -> str:
    async with supervisor.lease(wanted or spec(), **options) as lease:
        return await text(lease)
