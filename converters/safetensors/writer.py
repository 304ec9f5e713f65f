"""Safetensors files whose headers are known before their data: shards filled one array at a time."""

import json
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from converters.plan import ArraySpec


class ShardWriter:
    """Invariant: arrays come in the order of `specs`; a shard is fsynced when the next begins."""

    def __init__(self, folder: Path, specs: Sequence[ArraySpec], shard_bytes: int) -> None:
        self.folder = folder
        self._shards = split(specs, shard_bytes)
        self._names = shard_names(len(self._shards))
        self._home = {spec.name: i for i, shard in enumerate(self._shards) for spec in shard}
        self._current, self._descriptor = -1, -1

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._close()
        if kind is None and len(self._shards) > 1:
            self._write_index()

    def write(self, name: str, data: NDArray[Any]) -> None:
        if self._home[name] != self._current:
            self._open(self._home[name])
        view = data.data.cast("B")
        while view:
            view = view[os.write(self._descriptor, view) :]

    def _open(self, number: int) -> None:
        self._close()
        self._current = number
        path = self.folder / self._names[number]
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(self._descriptor, header(self._shards[number]))

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.fsync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _write_index(self) -> None:
        total = sum(spec.size for shard in self._shards for spec in shard)
        places = {name: self._names[number] for name, number in sorted(self._home.items())}
        index = {"metadata": {"total_size": total}, "weight_map": places}
        (self.folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))


def split(specs: Sequence[ArraySpec], shard_bytes: int) -> list[list[ArraySpec]]:
    """Consecutive arrays, as many a shard as fit; one larger than a shard has its own."""
    shards: list[list[ArraySpec]] = [[]]
    size = 0
    for spec in specs:
        if shards[-1] and size + spec.size > shard_bytes:
            shards.append([])
            size = 0
        shards[-1].append(spec)
        size += spec.size
    return shards


def shard_names(count: int) -> list[str]:
    if count == 1:
        return ["model.safetensors"]
    return [f"model-{i:05d}-of-{count:05d}.safetensors" for i in range(1, count + 1)]


def header(specs: Sequence[ArraySpec]) -> bytes:
    """The length and JSON that begin a file, padded so that data is aligned."""
    entries: dict[str, Any] = {"__metadata__": {"format": "mlx"}}
    end = 0
    for spec in specs:
        offsets = [end, end + spec.size]
        entries[spec.name] = {
            "dtype": spec.dtype,
            "shape": list(spec.shape),
            "data_offsets": offsets,
        }
        end += spec.size
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text
