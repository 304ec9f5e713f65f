"""What memory there is, what this process uses, and the limits MLX is given; Metal behind one interface."""

import os
from pathlib import Path

import mlx.core as mx

CACHE_LIMIT = 1 << 30
"""Freed buffers that MLX keeps for reuse, in bytes; without a limit it keeps everything."""


def total() -> int:
    """Bytes this machine lets a model use: Metal's recommended working set, or the RAM."""
    if mx.metal.is_available():
        return int(mx.device_info()["max_recommended_working_set_size"])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def available() -> int:
    """Bytes free now, as far as it can be known."""
    if mx.metal.is_available():
        return total() - mx.get_active_memory()
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return total()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))


def reserve(limit: int) -> int:
    """Bytes to leave alone: the system's and our own loose ends."""
    return min(max(limit // 10, 512 << 20), 3 << 30)


def apply_limits(wired: int) -> None:
    """Bound MLX's buffer pool and, on Metal, keep weights and KV cache wired (never the whole maximum)."""
    mx.set_cache_limit(CACHE_LIMIT)
    if mx.metal.is_available():
        mx.set_wired_limit(min(wired, total()))
