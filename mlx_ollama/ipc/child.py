"""How a child process of the server is started: which command, with what of the environment."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

# `-I` keeps the current directory and PYTHON* out of the child, and with them this package when it is run from
# a checkout: so its place is handed over. On Linux the kernel ends the child with the thread that started it;
# elsewhere the end of its socket or of standard input has to do.
_BOOT = """\
import os, runpy, sys
place, module, parent, watches = [sys.argv.pop(1) for _ in range(4)]
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, 9)
    if os.getppid() != int(parent):
        sys.exit(1)
if watches == "stdin":
    import threading
    threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start()
sys.path.insert(0, place)
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""

_ALLOWED = {
    "HOME", "LANG", "LOGNAME", "OLLAMA_DEBUG", "PATH", "SHELL", "TMPDIR", "TZ", "USER",
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
}  # fmt: skip
_ALLOWED_PREFIXES = ("LC_", "MLX_")
_SECRET_ENDINGS = ("_TOKEN", "_KEY", "_SECRET", "_PASSWORD")


def command(module: str, *arguments: str, watches: Literal["stdin", "socket"]) -> list[str]:
    """Run `module` of this installation, isolated; `sys.argv[1:]` will be `arguments`.

    `watches` is what tells the child that we have gone, on every system: standard input, a pipe that we never
    write to (seen to here), or its socket (the module sees to it).
    """
    place, parent = str(Path(__file__).parents[2]), str(os.getpid())
    return [sys.executable, "-I", "-c", _BOOT, place, module, parent, watches, *arguments]


def _is_allowed(name: str) -> bool:
    if name.endswith(_SECRET_ENDINGS):
        return False
    return name in _ALLOWED or name.startswith(_ALLOWED_PREFIXES)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a child may see of our environment (S-82), and `extra`."""
    kept = {name: value for name, value in os.environ.items() if _is_allowed(name)}
    return kept | dict(extra or {})
