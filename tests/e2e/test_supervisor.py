"""R-12: a server that is killed leaves no runner."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fakes.runner import Script, command, journal

pytestmark = pytest.mark.e2e

SERVER = """
import asyncio, sys, msgspec
from mlx_ollama.ipc.messages import Generate, Load
from mlx_ollama.supervisor.spec import Limits, RunnerSpec
from mlx_ollama.supervisor.supervisor import Supervisor

async def main():
    supervisor = Supervisor(Limits(command=tuple(sys.argv[1:]), openblas=""))
    async def ask(name):
        async with supervisor.lease(RunnerSpec(load=Load(model=name, digest=name))) as lease:
            async for _ in lease.request(Generate(id=0)):
                pass
    await asyncio.gather(*map(ask, "abc"))

asyncio.run(main())
"""


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/status")
    return not (status.exists() and "State:\tZ" in status.read_text())


def _wait(condition: object, seconds: float) -> bool:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return bool(condition())


def test_killing_the_server_in_mid_stream_ends_its_runners_within_two_seconds(tmp_path: Path):
    path = tmp_path / "journal"
    script = Script(say=["word"], times=100_000, delay=0.001, journal=str(path))
    server = subprocess.Popen([sys.executable, "-c", SERVER, *command(script)])
    try:
        assert _wait(lambda: sum("request" in line for line in journal(path)) == 3, 15)
        pids = [int(line.rsplit(" ", 1)[1]) for line in journal(path) if line.startswith("load")]
        assert all(_is_alive(pid) for pid in pids)
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait()
    assert _wait(lambda: not any(_is_alive(pid) for pid in pids), 2)
