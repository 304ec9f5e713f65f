"""Weights as Ollama's tensor blobs: a small Safetensors file each, named by its digest.

A header is deterministic, so that equal weights of different models are one blob.
"""

import json
import os
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from converters.safetensors.arrays import Array
from converters.weights import Packed

TENSOR = "application/vnd.ollama.image.tensor"
JSON = "application/vnd.ollama.image.json"


@dataclass(frozen=True, kw_only=True)
class BlobLayer:
    """A file of the output folder and what it is in a manifest."""

    media_type: str
    name: str
    digest: str
    size: int


class BlobFolder:
    """Invariant: a file called by a digest is complete and fsynced."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.layers: list[BlobLayer] = []

    def add(self, media_type: str, name: str, pieces: list[bytes | memoryview]) -> None:
        digest, size = sha256(), 0
        part = self.folder / "part"
        with part.open("wb") as file:
            for piece in pieces:
                digest.update(piece)
                size += len(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        text = digest.hexdigest()
        part.rename(self.folder / f"sha256-{text}")
        layer = BlobLayer(media_type=media_type, name=name, digest=f"sha256:{text}", size=size)
        self.layers.append(layer)

    def add_weight(self, name: str, weight: Array | Packed) -> None:
        arrays, metadata = parts(name, weight)
        self.add(TENSOR, name, [header(arrays, metadata), *(_bytes(a) for a in arrays.values())])

    def finish(self, facts: Mapping[str, object]) -> None:
        """Write layers.json, which says that all is there."""
        content = {**facts, "layers": [asdict(layer) for layer in self.layers]}
        part = self.folder / "part"
        part.write_text(json.dumps(content))
        part.rename(self.folder / "layers.json")


def parts(name: str, weight: Array | Packed) -> tuple[dict[str, Array], dict[str, str]]:
    """The arrays of a blob by name, and its metadata."""
    if isinstance(weight, Array):
        return {name: weight}, {}
    companions = {
        name: weight.weight,
        f"{name}.scale": weight.scale,
        f"{name}.bias": weight.bias,
        f"{name}.global_scale": weight.global_scale,
    }
    packing = weight.packing
    metadata = {"quant_type": packing.name, "group_size": str(packing.group_size)}
    return {n: array for n, array in companions.items() if array is not None}, metadata


def header(arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> bytes:
    entries: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, array in arrays.items():
        start, end = end, end + array.data.nbytes
        shape = list(array.data.shape)
        entries[name] = {"dtype": array.dtype, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def _bytes(array: Array) -> memoryview:
    data = array.data if array.data.flags.c_contiguous else array.data.copy()
    return data.reshape(-1).view("u1").data
