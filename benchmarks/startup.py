"""`python -m benchmarks.startup [--gguf FILE] [--rounds N] [--out FOLDER]`: from nothing to the first token.

Each round starts `mlx-ollama serve` on a store that holds one model with its MLX weights made (SmolLM2-135M
unless --gguf says otherwise), asks for one token, and ends the server. Prints a table of medians, writes
startup.json and startup.png. Seconds are wall time; beside them the CPU seconds of server and runner together,
which a busy machine does not change.
"""

import argparse
import contextlib
import hashlib
import http.client
import json
import os
import platform
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from mlx_ollama.quickstart import model_file

MODEL = "benchmark"
PATIENCE_SECONDS = 120.0
TEMPLATE = (
    "{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}"
    "<|im_start|>assistant\n"
)
IMPORTS = {
    "server": "mlx_ollama.cli.main, mlx_ollama.server.app",
    "runner": "mlx_ollama.runner.runner",
}


def cpu_seconds() -> float:
    """Of all children that have ended, and of theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class Server:
    """A server process on a free port, with a home of its own."""

    def __init__(self, home: Path, **variables: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OLLAMA_")},
            "HOME": str(home),
            "XDG_CACHE_HOME": str(home / "cache"),
            "OLLAMA_MODELS": str(home / "models"),
            "OLLAMA_HOST": f"127.0.0.1:{self.port}",
            **variables,
        }
        command = [sys.executable, "-m", "mlx_ollama", "serve"]
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)

    def wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError):
                self.call("GET", "/")
                return
            time.sleep(0.01)
        raise SystemExit("the server did not start")

    def call(self, method: str, path: str, body: Any = None) -> None:
        for _ in self.lines(method, path, body):
            pass

    def lines(self, method: str, path: str, body: Any = None) -> Iterator[bytes]:
        """The lines of an answer; an error ends the program."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        try:
            connection.request(method, path, data)
            answer = connection.getresponse()
            for line in answer:
                if answer.status >= 400 or b'"error"' in line:
                    raise SystemExit(line.decode(errors="replace"))
                yield line
        finally:
            connection.close()

    def resident(self) -> int:
        """Bytes of the server process, 0 where the system does not tell."""
        status = Path(f"/proc/{self.process.pid}/status")
        if not status.exists():
            return 0
        lines = status.read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS"))

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE_SECONDS)


def create(home: Path, gguf: Path) -> None:
    """Fill the store, and make the MLX weights by loading once."""
    server = Server(home)
    try:
        server.wait_until_it_answers()
        content = gguf.read_bytes()
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        server.call("POST", f"/api/blobs/{digest}", content)
        body = {"model": MODEL, "files": {gguf.name: digest}, "template": TEMPLATE}
        server.call("POST", "/api/create", body)
        first_token(server)
    finally:
        server.stop()


def first_token(server: Server) -> None:
    """Ask, and come back with the first line of the stream."""
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    options = {"temperature": 0, "num_predict": 1}
    body = {"model": MODEL, "messages": messages, "options": options}
    next(server.lines("POST", "/api/chat", body))


def one_round(home: Path) -> dict[str, float]:
    """Seconds, and megabytes of the idle server."""
    cpu, started = cpu_seconds(), time.monotonic()
    server = Server(home)
    try:
        server.wait_until_it_answers()
        answering = time.monotonic()
        resident = server.resident()
        first_token(server)
        spoken = time.monotonic()
        first_token(server)
        again = time.monotonic()
    finally:
        server.stop()
    return {
        "server answers": answering - started,
        "model loaded, first token": spoken - answering,
        "cold start to first token": spoken - started,
        "first token when loaded": again - spoken,
        "cpu of all": cpu_seconds() - cpu,
        "idle server MB": resident / 1e6,
    }


def import_seconds(modules: str) -> float:
    """CPU seconds of a process that only imports."""
    before = cpu_seconds()
    subprocess.run([sys.executable, "-c", f"import {modules}"], check=True)
    return cpu_seconds() - before


def measure(gguf: Path, rounds: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        create(Path(folder), gguf)
        for _ in range(rounds):
            values = one_round(Path(folder))
            for name, modules in IMPORTS.items():
                values[f"imports of the {name}, cpu"] = import_seconds(modules)
            for name, value in values.items():
                found.setdefault(name, []).append(value)
    return found


def machine() -> str:
    """What it ran on, and how busy that was."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, load {load}"


def draw(medians: dict[str, float], where: str, path: Path) -> None:
    """A bar for every figure in seconds."""
    bars = [(name, value) for name, value in medians.items() if not name.endswith("MB")]
    width, height, left = 900, 40 * len(bars) + 60, 280
    image = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(image)
    pen.text((10, 10), f"start-up, seconds: {where}", fill="black")
    scale = (width - left - 80) / max(value for _, value in bars)
    for place, (name, value) in enumerate(bars):
        top = 45 + 40 * place
        pen.text((10, top + 5), name, fill="black")
        pen.rectangle((left, top, left + value * scale, top + 22), fill="#4477aa")
        pen.text((left + value * scale + 6, top + 5), f"{value:.2f}", fill="black")
    image.save(path)


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    arguments.add_argument("--gguf", type=Path, help="model file; none: SmolLM2-135M, downloaded")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--out", type=Path, default=Path())
    chosen = arguments.parse_args()
    found = measure(chosen.gguf or model_file(), chosen.rounds)
    where, medians = machine(), {name: statistics.median(values) for name, values in found.items()}
    print(f"{where}; medians of {chosen.rounds}")
    for name, value in medians.items():
        print(f"{name:32} {value:8.2f}   {min(found[name]):8.2f} … {max(found[name]):.2f}")
    record = {"machine": where, "seconds": found}
    (chosen.out / "startup.json").write_text(json.dumps(record, indent=1))
    draw(medians, where, chosen.out / "startup.png")


if __name__ == "__main__":
    main()
