"""Where the stream of tensors goes: shards on disk, or a live model in this process."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.convert import Dtype, Progress


@dataclass(frozen=True, kw_only=True)
class LiveModel:
    """What a directory on disk would hold, for a runner that loads without one."""

    config: dict[str, Any]  # config.json, `quantization` included
    files: Mapping[str, bytes]  # tokenizer.json, tokenizer_config.json, generation_config.json
    weights: Iterator[tuple[str, Any]]  # (name, mx.array), each read and repacked when asked for


def live(
    sources: Sequence[Path], *, dtype: Dtype | None = None, progress: Progress | None = None
) -> LiveModel:
    """`sources` as a live model: no byte is written. Imports MLX when the first weight is taken."""
    raise NotImplementedError
