"""One runner process: started with its end of a socketpair, its last words kept, ended."""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from mlx_ollama.ipc import child

_log = logging.getLogger(__name__)
_TAIL_LINES = 40
_LINE_BYTES = 2048
_TERMINATE_SECONDS = 2.0
_BLAS_PLACES = (
    "/usr/lib/x86_64-linux-gnu/openblas-pthread/libblas.so.3",
    "/usr/lib/aarch64-linux-gnu/openblas-pthread/libblas.so.3",
    "/usr/lib64/libopenblas.so.0",
)


def blas_environment(library: str | None) -> dict[str, str]:
    """Variables that give a child OpenBLAS: `library`, or for None the first that is installed; "" for none.

    MLX's Linux wheel links the reference BLAS, which is ten times slower. Elsewhere there is nothing to give.
    """
    if sys.platform != "linux":
        return {}
    if library is None:
        library = next((place for place in _BLAS_PLACES if Path(place).exists()), "")
    return {"LD_PRELOAD": library, "OPENBLAS_NUM_THREADS": "1"} if library else {}


class RunnerProcess:
    """`sock` is our end, not blocking. The child has no other descriptor of ours but standard error."""

    def __init__(self, process: asyncio.subprocess.Process, sock: socket.socket, name: str) -> None:
        self.sock = sock
        self._process = process
        self._name = name
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._listener = asyncio.create_task(self._listen(), name=f"stderr of {name}")

    @classmethod
    async def start(
        cls, command: Sequence[str], name: str, openblas: str | None = None
    ) -> "RunnerProcess":
        """Spawn; OSError when that fails."""
        ours, theirs = socket.socketpair()
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                str(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=(theirs.fileno(),),
                env=child.environment(blas_environment(openblas)),
                cwd="/",
                start_new_session=True,  # a terminal's Ctrl-C is the server's to handle
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        return cls(process, ours, name)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def _listen(self) -> None:
        stream = self._process.stderr
        assert stream is not None
        rest = b""
        while data := await stream.read(_LINE_BYTES):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._hear(line)
            rest = rest[-_LINE_BYTES:]
        if rest:
            self._hear(rest)

    def _hear(self, line: bytes) -> None:
        text = line[:_LINE_BYTES].decode(errors="replace").rstrip()
        self._tail.append(text)
        _log.info("runner of %s: %s", self._name, text)

    def kill(self) -> None:
        """End it now; a process that is gone already is left alone."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def exit_status(self, seconds: float) -> int:
        """Wait for the end, at most so long, then enforce it. Negative: minus the signal."""
        try:
            async with asyncio.timeout(seconds):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            await self._process.wait()
        with contextlib.suppress(TimeoutError):  # a grandchild could keep standard error open
            async with asyncio.timeout(0.2):
                await asyncio.shield(self._listener)
        self._listener.cancel()
        return await self._process.wait()

    async def stop(self) -> None:
        """Ask it to end, then make it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        await self.exit_status(_TERMINATE_SECONDS)

    def last_words(self) -> str:
        """The tail of standard error, for the log."""
        return "\n".join(self._tail)


def describe_exit(status: int) -> str:
    """An exit status in words: `signal 9 (SIGKILL)`, `exit status 70`."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"signal {-status} ({signal.Signals(-status).name})"
    except ValueError:
        return f"signal {-status}"
