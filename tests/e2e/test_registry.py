"""A pull that is killed at any moment goes on where it was, and nothing half-made is ever listed (R-20)."""

import asyncio
import os
import random
import signal
import sys
from pathlib import Path

import pytest

from mlx_ollama.store.names import ModelName
from tests.fakes.registry import FaultProxy, Request, real_registry
from tests.unit.registry.conftest import Side

pytestmark = [pytest.mark.e2e, pytest.mark.anyio]
KILLS = int(os.environ.get("KILLS", "8"))
SIZE = 600_000
PART = 4096
STREAMS = 4

PULLER = """
import asyncio, sys
from pathlib import Path
from tests.unit.registry.conftest import Side

asyncio.run(Side(Path(sys.argv[1])).pull(sys.argv[2]))
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def start(folder: Path, name: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", PULLER, str(folder), name, cwd=Path(__file__).parents[2]
    )


@pytest.mark.timeout(120 + KILLS * 2)
async def test_a_pull_killed_again_and_again_goes_on_and_moves_no_part_twice(
    tmp_path: Path,
) -> None:
    chance = random.Random(7)
    here, there = Side(tmp_path / "here"), Side(tmp_path / "there")
    with real_registry(tmp_path) as registry:
        here.make(f"{registry}/library/big", size=SIZE)
        await here.push(f"{registry}/library/big")
        async with FaultProxy(registry).running() as proxy:
            name = f"{proxy.host}/library/big"
            for _ in range(KILLS):
                process = await start(there.folder, name)
                left = chance.randrange(1, 8)

                def strike(request: Request, pid: int = process.pid) -> None:
                    nonlocal left
                    left -= "/blobs/" in request.path
                    if left == 0:
                        os.kill(pid, signal.SIGKILL)

                proxy.before_body = strike
                await process.wait()
                model = ModelName.parse(name)
                assert there.store.manifests.existing(model) is None or there.is_whole(name)
            proxy.before_body = lambda _: None
            process = await start(there.folder, name)
            assert await process.wait() == 0
            moved = proxy.sent_bytes
    assert there.is_whole(name)
    assert not [file for file in there.files() if ".part" in file]
    # Only what was on its way when it was killed has come a second time.
    assert moved <= SIZE + KILLS * (STREAMS * PART + 1000)
