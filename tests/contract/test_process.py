"""The server process as a user starts and ends it."""

import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.serving import ROOT, ServerProcess

MEBIBYTE = 1 << 20


def _resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        pytest.skip("no /proc on this system")
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def test_without_a_model_it_stays_small(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        for _ in range(10):
            for path in ("/", "/api/tags", "/api/ps"):
                with urllib.request.urlopen(server.url + path) as answer:
                    assert answer.status == 200
        assert _resident_bytes(server.process.pid) <= 60 * MEBIBYTE
        assert server.stop() == 0


def test_a_port_that_is_taken_is_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = subprocess.run(
            [sys.executable, "-m", "mlx_ollama", "serve"],
            env={"HOME": str(tmp_path), "OLLAMA_HOST": f"127.0.0.1:{port}"},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    assert ended.returncode == 1
    assert ended.stderr == (f"Error: listen tcp 127.0.0.1:{port}: bind: address already in use\n")


def test_it_tells_its_version() -> None:
    command = [sys.executable, "-m", "mlx_ollama", "--version"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.startswith("mlx-ollama version is ")
