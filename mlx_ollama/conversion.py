"""A model's MLX weights: found in the derived cache, or made there by `python -m converters`."""

from collections.abc import AsyncGenerator
from pathlib import Path

from msgspec import Struct

from mlx_ollama.ipc.messages import Load, Progress


class Source(Struct, frozen=True, kw_only=True):
    """What is converted: paths of GGUF parts (in order), projectors, adapters, and the digests of all of them."""

    gguf: tuple[Path, ...]
    digests: tuple[str, ...]
    projectors: tuple[Path, ...] = ()
    adapters: tuple[Path, ...] = ()


class Conversions:
    """The derived cache. `directory` is in the OS cache folder; `max_bytes` caps it, oldest use goes first."""

    def __init__(self, directory: Path, *, max_bytes: int = 0) -> None:
        raise NotImplementedError

    def prepare(self, load: Load, source: Source) -> AsyncGenerator[Progress | Load, None]:
        """Progress while converting, and last `load` with `directory` filled in, or with `gguf` when the cache
        cannot be written (read-only, full, over its cap). Callers of the same source share one conversion; it
        ends when the last of them closes its generator. CorruptData or InvalidRequest when the source is bad.
        """
        raise NotImplementedError
