"""A real server process on a free port, for tests that speak HTTP."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).parents[1]
_LISTENING = re.compile(r"listening on 127\.0\.0\.1:(\d+)")


class ServerProcess:
    """`python -m mlx_ollama serve` with a home of its own. A context manager; ends with SIGTERM."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        self.log: list[str] = []
        self._environment = environment
        self._ready = threading.Event()

    def __enter__(self) -> Self:
        clean = {name: value for name, value in os.environ.items() if "OLLAMA" not in name}
        clean |= {"HOME": str(self.home), "OLLAMA_HOST": "127.0.0.1:0"} | self._environment
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlx_ollama", "serve"],
            env=clean,
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        if not self._ready.wait(20) or self.process.poll() is not None:
            self.process.kill()
            raise RuntimeError("the server did not start:\n" + "".join(self.log))
        return self

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                self.log.append(line)
                found = _LISTENING.search(line)
                if found:
                    self.port = int(found[1])
                    self._ready.set()
        self._ready.set()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> int:
        """The exit status after SIGTERM."""
        self.process.terminate()
        try:
            status = self.process.wait(15)
            self._reader.join()
            return status
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"
