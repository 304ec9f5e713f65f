"""The whole conversion: inventory → plan → stream of tensors → sink."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

Dtype = Literal["f32", "bf16", "f16"]
Progress = Callable[[str, int, int], None]  # phase, completed bytes, total bytes


def convert(
    sources: Sequence[Path], out: Path, *, dtype: Dtype | None = None, progress: Progress | None = None
) -> None:
    """Write `sources` (the files of one model) as an mlx-lm directory `out`, which must not exist.

    `dtype` is that of float tensors, scales and biases; None: what this machine computes in
    (bf16 with Metal, f32 without). `out` appears complete (temp + fsync + rename) or not at all.
    Raises SourceError.
    """
    raise NotImplementedError
