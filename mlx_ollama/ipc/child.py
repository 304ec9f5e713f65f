"""How a child process of the server is started: which command, with what of the environment."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

# `-I` keeps the current directory and PYTHON* out of the child, and with them this package when it is run from
# a checkout: so its place is handed over. On Linux the kernel ends the child with the thread that started it;
# elsewhere the end of its socket or of standard input has to do.
_BOOT = """\
import os, runpy, sys
place, module, parent = sys.argv.pop(1), sys.argv.pop(1), int(sys.argv.pop(1))
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, 9)
    if os.getppid() != parent:
        sys.exit(1)
sys.path.insert(0, place)
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""

_ALLOWED = {
    "HOME", "LANG", "LOGNAME", "OLLAMA_DEBUG", "PATH", "SHELL", "TMPDIR", "TZ", "USER",
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
}  # fmt: skip
_ALLOWED_PREFIXES = ("LC_", "MLX_")
_SECRET_ENDINGS = ("_TOKEN", "_KEY", "_SECRET", "_PASSWORD")


def command(module: str, *arguments: str) -> list[str]:
    """Run `module` of this installation, isolated; `sys.argv[1:]` will be `arguments`."""
    place = Path(__file__).parents[2]
    return [sys.executable, "-I", "-c", _BOOT, str(place), module, str(os.getpid()), *arguments]


def _is_allowed(name: str) -> bool:
    if name.endswith(_SECRET_ENDINGS):
        return False
    return name in _ALLOWED or name.startswith(_ALLOWED_PREFIXES)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a child may see of our environment (S-82), and `extra`."""
    kept = {name: value for name, value in os.environ.items() if _is_allowed(name)}
    return kept | dict(extra or {})
