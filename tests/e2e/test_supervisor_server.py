"""R-10, R-12 on a real server with a real (tiny) model."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.test_registry_servers import GGUF, create
from tests.serving import ServerProcess

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
LONG = {"temperature": 1, "num_predict": 4000, "seed": 1, "num_ctx": 512}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which there is a model."""
    if not GGUF.is_file():
        pytest.skip("no shared fixtures beside this checkout")
    folder = tmp_path_factory.mktemp("home")
    with ServerProcess(folder) as process:
        create(process, "tiny")
    return folder


@pytest.fixture
def server(home: Path) -> Iterator[ServerProcess]:
    with ServerProcess(home) as process:
        list(stream(process, num_predict=1))
        yield process


def children(pid: int) -> list[int]:
    done = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in done.stdout.split()]


def is_alive(pid: int) -> bool:
    done = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return bool(done.stdout.strip()) and not done.stdout.startswith("Z")


def stream(server: ServerProcess, **options: Any) -> Generator[dict[str, Any]]:
    body = {"model": "tiny", "prompt": "once", "raw": True, "options": LONG | options}
    with httpx.stream("POST", f"{server.url}/api/generate", json=body, timeout=30) as answer:
        assert answer.status_code == 200
        yield from map(json.loads, answer.iter_lines())


def test_a_killed_runner_costs_one_error_and_the_next_request_works(server: ServerProcess) -> None:
    (runner,) = children(server.process.pid)
    lines = stream(server)
    next(lines)
    os.kill(runner, signal.SIGKILL)
    started = time.monotonic()
    rest = list(lines)
    assert time.monotonic() - started < 1
    errors = [line for line in rest if "error" in line]
    assert errors == rest[-1:]
    assert errors[0]["error"].startswith(
        "model runner has unexpectedly stopped, this may be due to"
    )
    assert list(stream(server, num_predict=4))[-1]["done_reason"] in ("length", "stop")


def test_a_killed_server_leaves_no_runner(server: ServerProcess) -> None:
    lines = stream(server)
    next(lines)
    runners = children(server.process.pid)
    assert runners
    server.process.kill()
    server.process.wait()
    deadline = time.monotonic() + 2
    while any(map(is_alive, runners)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(is_alive, runners))


def test_a_server_that_is_told_to_end_ends_its_runners(server: ServerProcess) -> None:
    runners = children(server.process.pid)
    assert runners
    assert server.stop() in (0, -signal.SIGTERM)
    assert not any(map(is_alive, runners))


def test_a_client_that_leaves_frees_the_runner(server: ServerProcess) -> None:
    lines = stream(server)
    next(lines)
    lines.close()
    started = time.monotonic()
    assert list(stream(server, num_predict=2))[-1]["done"]
    assert time.monotonic() - started < 5
