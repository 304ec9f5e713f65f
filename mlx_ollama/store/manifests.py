"""A name to its layers: `manifests/<host>/<namespace>/<model>/<tag>`, JSON without a suffix.

Invariants: a manifest is replaced whole or not at all; links are never followed; of two names that differ in
case only, one exists. Bytes of a pulled manifest are kept as they came. Everything here blocks.
"""

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct, field

from mlx_ollama.errors import (
    NOT_JSON,
    CorruptData,
    InvalidDigest,
    InvalidName,
    NotFound,
    StoreUnwritable,
)
from mlx_ollama.store.blobs import Digest, temporary_name
from mlx_ollama.store.durable import make_folder, read_regular, replace_file, sync_folder, writing
from mlx_ollama.store.names import ModelName

log = logging.getLogger(__name__)

MAX_MANIFEST = 16 << 20  # thousands of tensor layers
DEPTH = 4  # host, namespace, model, tag
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
LAYER_PREFIX = "application/vnd.ollama.image."


class Layer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`from_` is the display name of the model it was inherited from; `name` a tensor's or file's name."""

    media_type: str = field(name="mediaType", default="")
    digest: Digest
    size: int
    from_: str = field(name="from", default="")
    name: str = ""

    @property
    def kind(self) -> str:
        """`model`, `template`, `tensor` …: what follows Ollama's prefix, or the whole media type."""
        return self.media_type.removeprefix(LAYER_PREFIX)


class Manifest(Struct, frozen=True, kw_only=True):
    """What a name stands for. `config` is the layer that holds the model's configuration."""

    schema_version: int = field(name="schemaVersion", default=2)
    media_type: str = field(name="mediaType", default=MANIFEST_TYPE)
    config: Layer
    layers: list[Layer] = field(default_factory=list)

    @property
    def size(self) -> int:
        return self.config.size + sum(layer.size for layer in self.layers)

    def digests(self) -> set[Digest]:
        return {self.config.digest, *(layer.digest for layer in self.layers)}

    def of_kind(self, *kinds: str) -> list[Layer]:
        return [layer for layer in self.layers if layer.kind in kinds]


def _encode_digest(value: Any) -> Any:
    if isinstance(value, Digest):
        return str.__str__(value)
    raise NotImplementedError(type(value))


def decode_digest(expected: type, value: Any) -> Any:
    """For decoders of structs with digests in them."""
    if expected is Digest:
        return Digest(value)
    raise NotImplementedError(expected)


_encoder = msgspec.json.Encoder(enc_hook=_encode_digest)


class _Stored(Struct):
    """As `Manifest`, but Go writes an empty list of layers as null."""

    config: Layer
    schema_version: int = field(name="schemaVersion", default=2)
    media_type: str = field(name="mediaType", default=MANIFEST_TYPE)
    layers: list[Layer] | None = None


_decoder = msgspec.json.Decoder(_Stored, dec_hook=decode_digest)


def parse_manifest(content: bytes) -> Manifest:
    """`InvalidDigest` when a digest in it is none, `CorruptData` when it is no manifest."""
    try:
        found = _decoder.decode(content)
    except NOT_JSON as error:
        raise CorruptData("corrupt manifest") from error
    manifest = Manifest(
        schema_version=found.schema_version,
        media_type=found.media_type,
        config=found.config,
        layers=found.layers or [],
    )
    if min([manifest.config.size, *(layer.size for layer in manifest.layers)]) < 0:
        raise CorruptData("corrupt manifest")
    return manifest


def go_json(content: bytes) -> bytes:
    """JSON as Go's encoder ends and escapes it, so that the same content has the same digest."""
    for character, escaped in ((b"<", b"\\u003c"), (b">", b"\\u003e"), (b"&", b"\\u0026")):
        content = content.replace(character, escaped)
    return content + b"\n"


class StoredManifest(NamedTuple):
    """A manifest as it lies on the disk. `digest` is the bare hex SHA-256 of its bytes."""

    name: ModelName
    path: Path
    manifest: Manifest
    digest: str
    modified_at: datetime


class Manifests:
    """The manifests folder of a store. Manifests in the making are in `scratch`, on the same file system:
    a stray file among the manifests would keep Ollama from pruning."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.folder = folder
        self._scratch = scratch
        self._told: set[ModelName] = set()
        self._parsed: dict[str, tuple[tuple[int, int, int], StoredManifest]] = {}

    def existing(self, name: ModelName) -> ModelName | None:
        """The stored spelling of a name, or None when no manifest has it."""
        spelled, is_whole = self._spelled(name)
        return ModelName(*spelled) if is_whole else None

    def spelling(self, name: ModelName) -> ModelName:
        """The name to write under: each part as it is stored already, so that no two differ in case only."""
        spelled, _ = self._spelled(name)
        return ModelName(*spelled, scheme=name.scheme)

    def _spelled(self, name: ModelName) -> tuple[list[str], bool]:
        """The parts as stored, as far as they are; whether all of them are."""
        spelled: list[str] = []
        is_whole = True
        for depth, part in enumerate(name.path_parts(), 1):
            folder = "/".join((str(self.folder), *spelled))
            found = _spelling(folder, part, is_file=depth == DEPTH)
            is_whole = is_whole and found is not None
            spelled.append(found or part)
        return spelled, is_whole

    def path(self, name: ModelName) -> Path:
        return self.folder.joinpath(*name.path_parts())

    def read(self, name: ModelName) -> StoredManifest:
        """The manifest of a name in any case; `NotFound`, `CorruptData`, `InvalidDigest`."""
        stored = self.existing(name)
        try:
            if stored is not None:
                return self._load(stored)
        except FileNotFoundError:  # deleted meanwhile
            pass
        raise NotFound(f"model '{name}' not found")

    def read_bytes(self, stored: ModelName) -> bytes:
        """The file of a stored name, unparsed; `NotFound` when it was deleted meanwhile."""
        try:
            return read_regular(self.path(stored), MAX_MANIFEST)
        except FileNotFoundError as error:
            raise NotFound(f"model '{stored}' not found") from error

    def _load(self, name: ModelName) -> StoredManifest:
        path = "/".join(
            (str(self.folder), *name.path_parts())
        )  # a Path would cost more than the rest
        status = os.lstat(path)
        signature = (status.st_mtime_ns, status.st_size, status.st_ino)
        known = self._parsed.get(path)
        if known is not None and known[0] == signature:
            return known[1]
        content = read_regular(Path(path), MAX_MANIFEST)
        stored = StoredManifest(
            name,
            Path(path),
            parse_manifest(content),
            hashlib.sha256(content).hexdigest(),
            datetime.fromtimestamp(status.st_mtime_ns / 1e9).astimezone(),
        )
        self._parsed[path] = (signature, stored)
        return stored

    def names(self) -> Iterator[ModelName]:
        """Every name that has a manifest file; what else lies there is passed over."""
        for parts in _walk(str(self.folder), DEPTH):
            with suppress(InvalidName):
                yield ModelName(*parts)

    def all(self) -> Iterator[StoredManifest]:
        """Every readable manifest; each other one is skipped with a warning."""
        for name in self.names():
            stored = self.readable(name)
            if stored is not None:
                yield stored

    def readable(self, name: ModelName) -> StoredManifest | None:
        try:
            return self._load(name)
        except (CorruptData, InvalidDigest, OSError) as error:
            self.warn(name, error)
            return None

    def warn(self, name: ModelName, error: Exception) -> None:
        """Say that a model is skipped: once, not at every listing."""
        log.log(
            logging.DEBUG if name in self._told else logging.WARNING, "%s skipped: %s", name, error
        )
        self._told.add(name)

    def write(self, name: ModelName, content: bytes) -> ModelName:
        """Put a manifest's bytes under a name, as spelled already; the name it has now."""
        parse_manifest(content)
        name = self.spelling(name)
        path = self.path(name)
        if any(folder.is_symlink() for folder in path.parents[: DEPTH - 1]):
            raise StoreUnwritable("symbolic links are not allowed in the model store")
        with writing(self.folder, len(content)):
            make_folder(path.parent)
            make_folder(self._scratch)
            replace_file(path, content, self._scratch / temporary_name())
        return name

    def put(self, name: ModelName, manifest: Manifest) -> ModelName:
        """Write a manifest of our own."""
        return self.write(name, go_json(_encoder.encode(manifest)))

    def remove(self, name: ModelName) -> None:
        """Take the manifest of a stored name away, and folders that are empty then."""
        path = self.path(name)
        with writing(self.folder):
            path.unlink(missing_ok=True)
            sync_folder(path.parent)
            self._parsed.pop(str(path), None)
            remove_empty(path.parent, self.folder)


def remove_empty(folder: Path, top: Path) -> None:
    """Remove a folder and its parents below `top` as far as they are empty."""
    while folder != top:
        try:
            folder.rmdir()
        except OSError:  # not empty, or gone already
            return
        folder = folder.parent


def _spelling(folder: str, part: str, *, is_file: bool) -> str | None:
    """How an entry of `folder` that is `part` in some case is spelled; an exact match wins. Links are none."""
    wanted = part.lower()
    try:
        found = [
            entry.name
            for entry in os.scandir(folder)
            if entry.name.lower() == wanted and _is_kind(entry, is_file=is_file)
        ]
    except (FileNotFoundError, NotADirectoryError):
        return None
    return part if part in found else min(found, default=None)


def _is_kind(entry: "os.DirEntry[str]", *, is_file: bool) -> bool:
    if is_file:
        return entry.is_file(follow_symlinks=False)
    return entry.is_dir(follow_symlinks=False)


def _walk(folder: str, depth: int) -> Iterator[tuple[str, ...]]:
    """The paths, `depth` names long, of regular files below a folder, links never followed."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if depth == 1 and entry.is_file(follow_symlinks=False):
            yield (entry.name,)
        elif depth > 1 and entry.is_dir(follow_symlinks=False):
            for rest in _walk(entry.path, depth - 1):
                yield (entry.name, *rest)
