"""A Hugging Face checkpoint: its JSON files and the tensors of all its shards, read without running or following anything."""

import json
import math
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from converters.errors import MissingPart, SourceError, Unsupported
from converters.inventory import Tensor
from converters.safetensors.reader import invalid, read_tensors

MAX_JSON_BYTES = 64 << 20
MAX_CONFIG_BYTES = 16 << 20
INDEX = "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".npy", ".npz", ".h5", ".msgpack")
CODE_KEYS = ("auto_map", "model_file", "custom_pipelines")
OWN_CLASSES = ("nomic_bert",)  # of ours, for models that bring code: it is not run
TEXT_FILES = ("chat_template.jinja",)
# What sentence-transformers puts behind the pooling: its weights get the folder's name in front.
_PROJECTION = re.compile(r"(\d+_Dense)/model\.safetensors")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """`files` are the small ones by name, config.json left out; `metadata` of each shard by its path."""

    config: dict[str, Any]
    files: Mapping[str, bytes]
    tensors: Mapping[str, Tensor]
    metadata: Mapping[Path, Mapping[str, str]]

    @property
    def architecture(self) -> str:
        return str(self.config.get("model_type", ""))

    def json(self, name: str) -> dict[str, Any]:
        """A small file's object; empty when it is not there."""
        return _object(name, self.files[name]) if name in self.files else {}


def files_of(folder: Path) -> dict[str, Path]:
    """Every file below a folder that is no link, by its relative name."""
    found: dict[str, Path] = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = [n for n in folders if not n.startswith(".")]
        for name in names:
            path = Path(parent) / name
            if not name.startswith("."):
                found[path.relative_to(folder).as_posix()] = path
    return found


def read(files: Mapping[str, Path]) -> Checkpoint:
    """A checkpoint of named files. Raises SourceError; nothing but headers and JSON is read."""
    for name, path in files.items():
        _check_file(name, path)
    shards = _shards(files)
    tensors: dict[str, Tensor] = {}
    metadata: dict[Path, Mapping[str, str]] = {}
    for path in shards:
        found, metadata[path] = read_tensors(path)
        for tensor in found:
            if tensor.name in tensors:
                invalid(f'tensor "{tensor.name}" is in two files')
            tensors[tensor.name] = tensor
    tensors |= _projections(files)
    small = _small_files(files)
    config = _object("config.json", small.pop("config.json", b""))
    for name, content in small.items():
        if name.endswith("config.json"):
            _refuse_code((_object if name == "tokenizer_config.json" else _json)(name, content))
    if config.get("model_type") not in OWN_CLASSES:
        _refuse_code(config)
    return Checkpoint(config=config, files=small, tensors=tensors, metadata=metadata)


def _projections(files: Mapping[str, Path]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, path in files.items():
        folder = _PROJECTION.fullmatch(name)
        for tensor in read_tensors(path)[0] if folder else ():
            named = replace(tensor, name=f"{folder[1] if folder else ''}.{tensor.name}")
            found[named.name] = named
    return found


def _check_file(name: str, path: Path) -> None:
    parts = name.split("/")
    if "\\" in name or "\0" in name or any(part in ("", ".", "..") for part in parts):
        raise SourceError("file path must be relative")
    if name.endswith(PICKLES):
        raise Unsupported("unsupported weights format")
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        raise SourceError("symbolic links are not allowed")
    if not stat.S_ISREG(mode):
        raise SourceError("not a regular file")


def _shards(files: Mapping[str, Path]) -> list[Path]:
    """The weight files, all of those that an index names."""
    if INDEX in files:
        wanted = _object(INDEX, _content(INDEX, files[INDEX])).get("weight_map")
        if not isinstance(wanted, dict):
            raise SourceError("the index of shards has no weight_map")
        names = sorted({_shard_name(name) for name in wanted.values()})
        missing = [name for name in names if name not in files]
        if missing:
            raise MissingPart(f'shard "{missing[0]}" is missing')
        return [files[name] for name in names]
    names = sorted(n for n in files if n.endswith(".safetensors") and "/" not in n)
    if any("-of-" in name for name in names):
        _check_series(names)
    if not names:
        raise MissingPart("no safetensors files")
    return [files[name] for name in names]


def _shard_name(name: Any) -> str:
    plain = isinstance(name, str) and name.endswith(".safetensors")
    if not plain or "/" in name or "\\" in name:
        raise SourceError("shard name must be a plain file name")
    return name


def _check_series(names: list[str]) -> None:
    """Without an index the names themselves say how many there are."""
    counts = {n.removesuffix(".safetensors").rpartition("-of-")[2] for n in names}
    if len(counts) != 1 or not (count := counts.pop()).isdecimal() or int(count) != len(names):
        raise MissingPart("a shard is missing")


def _small_files(files: Mapping[str, Path]) -> dict[str, bytes]:
    """The JSON files and templates, those of folders too (`1_Pooling/config.json`)."""
    chosen = {n: p for n, p in files.items() if n.endswith(".json") or n in TEXT_FILES}
    chosen.pop(INDEX, None)
    if "config.json" not in chosen:
        raise MissingPart("config.json is missing")
    return {name: _content(name, path) for name, path in chosen.items()}


def _content(name: str, path: Path) -> bytes:
    limit = MAX_CONFIG_BYTES if name.endswith("config.json") else MAX_JSON_BYTES
    if path.stat().st_size > limit:
        raise SourceError(f"{name} is too large")
    return path.read_bytes()


def _json(name: str, content: bytes) -> Any:
    try:
        return json.loads(content, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError):
        raise SourceError(f"{name} is not valid JSON") from None


def _finite(text: str) -> float:
    """NaN and infinities are Python's, not JSON's: other readers refuse the file."""
    if not math.isfinite(number := float(text)):
        raise ValueError(text)
    return number


def _object(name: str, content: bytes) -> dict[str, Any]:
    found = _json(name, content)
    if not isinstance(found, dict):
        raise SourceError(f"{name} is not an object")
    return found


def _refuse_code(settings: Any) -> None:
    """Some files that are called so hold lists."""
    if isinstance(settings, dict) and any(settings.get(key) for key in CODE_KEYS):
        raise Unsupported("model requires custom code, which is not supported")
