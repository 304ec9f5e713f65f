"""What this machine can give to models, and what a model will about need. Bytes throughout."""

import ctypes
import os
import sys
from pathlib import Path

GIBIBYTE = 1 << 30
_RESERVE = 3 * GIBIBYTE
_CONTEXT = 256 << 20  # caches and transients of a small model, before a runner has told


def physical() -> int:
    """The machine's memory, or what a container leaves us of it."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(total, _container_limit() or total)


def _container_limit() -> int:
    try:
        return int(Path("/sys/fs/cgroup/memory.max").read_text())
    except (OSError, ValueError):
        return 0


def _wired_limit() -> int:
    """What the user allows the GPU to wire (`sysctl iogpu.wired_limit_mb`); 0 when unset."""
    value, size = ctypes.c_uint64(0), ctypes.c_size_t(8)
    libc = ctypes.CDLL(None)
    status = libc.sysctlbyname(
        b"iogpu.wired_limit_mb", ctypes.byref(value), ctypes.byref(size), None, 0
    )
    return value.value << 20 if status == 0 else 0


def recommended(total: int, platform: str = sys.platform) -> int:
    """Metal's recommended working set by Apple's own fractions; on Linux all of it."""
    if platform != "darwin":
        return total
    return total * 2 // 3 if total <= 36 * GIBIBYTE else total * 3 // 4


def budget() -> int:
    """For all runners together: the recommended working set less 3 GiB or a tenth, at least half of it."""
    most = recommended(physical())
    if sys.platform == "darwin":
        most = _wired_limit() or most
    return max(most - max(_RESERVE, most // 10), most // 2)


def estimate(weights: int) -> int:
    """What a model of that many bytes of weights will need, until its runner says better."""
    return weights + weights // 10 + _CONTEXT


def human(size: int) -> str:
    """`4.7 GiB`, as Ollama prints sizes of memory."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"
