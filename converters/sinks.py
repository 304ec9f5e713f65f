"""Where the stream of tensors goes: shards on disk, or a live model in this process."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters import inventory
from converters.dtypes import Dtype, Progress, is_compact, stored_dtype
from converters.gguf.metadata_files import small_files
from converters.plan import ArraySpec, plan
from converters.safetensors.writer import ShardWriter
from converters.stream import StoredArray, stream

SHARD_BYTES = 2 << 30


@dataclass(frozen=True, kw_only=True)
class LiveModel:
    """What a directory on disk would hold, for a runner that loads without one."""

    config: dict[str, Any]  # config.json, `quantization` included
    files: Mapping[str, bytes]  # tokenizer.json, tokenizer_config.json, generation_config.json …
    processor: dict[str, Any]  # preprocessor_config.json of a model that sees; else empty
    weights: Iterator[tuple[str, Any]]  # (name, mx.array), each read and repacked when asked for


def live(
    sources: Sequence[Path],
    *,
    projectors: Sequence[Path] = (),
    dtype: Dtype | None = None,
    compact: bool | None = None,
    progress: Progress | None = None,
) -> LiveModel:
    """`sources` as a live model: no byte is written. Imports MLX when the first weight is taken.

    `dtype`, `compact`, `projectors` as in `convert`. Raises SourceError, here or while weights are taken.
    """
    stored = stored_dtype(dtype)
    made = plan(
        inventory.read(sources),
        compact=is_compact(stored, compact),
        projectors=tuple(inventory.read([path]) for path in projectors),
    )
    arrays = stream(made, stored)
    return LiveModel(
        config=made.config,
        files=small_files(made.inventory, made.config),
        processor=made.processor,
        weights=_as_mlx(_counted(arrays, made.inventory.size, progress)),
    )


def _counted(
    arrays: Iterable[StoredArray], total: int, progress: Progress | None
) -> Iterator[StoredArray]:
    done = 0
    for array in arrays:
        yield array
        done = min(total, done + array.spec.size)
        if progress is not None:
            progress("loading", done, total)


def _as_mlx(arrays: Iterable[StoredArray]) -> Iterator[tuple[str, Any]]:
    import mlx.core as mx

    for spec, data in arrays:
        array = mx.array(data)
        yield spec.name, array.view(mx.bfloat16) if spec.dtype == "BF16" else array


def write_shards(
    specs: Sequence[ArraySpec], arrays: Iterable[StoredArray], folder: Path, done: Any
) -> None:
    """model.safetensors, or model-00001-of-0000N.safetensors and their index; each fsynced.

    `specs` are all arrays to come, so that every header is written before its data. `done(bytes)` after each.
    """
    writer = ShardWriter(folder, specs, SHARD_BYTES)
    with writer:
        for spec, data in arrays:
            writer.write(spec.name, data)
            done(spec.size)
