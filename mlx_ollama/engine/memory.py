"""What memory there is, what this process uses, and the limits MLX is given; Metal behind one interface."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import mlx.core as mx

from mlx_ollama.engine.kv_cache import RowCache
from mlx_ollama.engine.sequence import Sequence

if TYPE_CHECKING:
    from mlx_ollama.engine.loader import LoadedModel

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


EXPECTED_OUTPUT = 1024
"""Tokens of output that a sequence is admitted for; it may give more while there is room."""

TRANSIENT_SHARE = 8
"""What one prefill chunk may need beside the caches: a part in so many of the room."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """`room`: bytes for caches and what computing needs, the weights and a reserve taken off."""

    MAX_PREFIXES: ClassVar[int] = 8 << 30

    room: int
    row: RowCache  # of one token, to ask what more would cost
    heads: int

    @classmethod
    def of(cls, model: "LoadedModel", limit: int) -> "Budget":
        """Also sets MLX's limits. `limit` 0: what the machine recommends."""
        limit = min(limit or total(), total(), available() + model.bytes)
        apply_limits(limit - reserve(limit))
        row = RowCache(model.model)
        if not model.is_encoder:
            mx.eval(model.model(mx.array([[0]]), cache=row.layers))
        row.length = 1
        room = max(limit - reserve(limit) - model.bytes, 0)
        return cls(room=room, row=row, heads=model.config["num_attention_heads"])

    @property
    def prefixes(self) -> int:
        """Bytes for stored prefixes; live rows may take them back."""
        return min(self.room // 4, self.MAX_PREFIXES)

    def expected(self, sequence: Sequence) -> int:
        """Bytes that a sequence's cache may come to hold."""
        request = sequence.request
        tokens = len(request.ids) + min(max(sequence.limit, 0), EXPECTED_OUTPUT)
        return self.row.bytes_for(min(tokens, request.num_ctx))

    def bounded_chunk(self, tokens: int, context: int) -> int:
        """A chunk whose scores (heads x chunk x context, float32 at worst) stay within their share."""
        scores = self.heads * 4 * (context + tokens)
        return max(min(tokens, self.room // TRANSIENT_SHARE // scores), 8)

    def refusal(self, needed: int) -> str:
        return (
            f"this request needs {_gib(needed)} of memory for its context, "
            f"and {_gib(self.room)} are available; use a smaller num_ctx"
        )


def _gib(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB"
