"""Uploaded GGUF files to layers."""

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from msgspec import Struct, field

from converters import inventory
from converters.architectures import require_supported
from converters.errors import SourceError
from converters.inventory import Inventory
from converters.projectors import require_supported as require_projector
from mlx_ollama.api.models import Progress
from mlx_ollama.create.canonical import Canonical
from mlx_ollama.create.draft import Draft
from mlx_ollama.errors import CorruptData, InvalidRequest
from mlx_ollama.store.blobs import Blobs, Digest
from mlx_ollama.store.durable import open_regular
from mlx_ollama.store.humanise import human_number

MAGIC = b"GGUF"
SPARE_BYTES = 64 << 20  # left free on the disk
REPORT_BYTES = 16 << 20
VERIFYING = "verifying conversion"


Found = tuple[Digest, Inventory | None]
"""One uploaded file; None for a part of a split model, which only the whole set explains."""


class Sources(Struct, kw_only=True):
    """The files of one request, sorted by what they are."""

    weights: list[Digest] = field(default_factory=list)
    projectors: list[Digest] = field(default_factory=list)
    adapters: list[Digest] = field(default_factory=list)
    inventories: dict[Digest, Inventory] = field(default_factory=dict)
    new: set[Digest] = field(default_factory=set)  # not uploaded but made

    def model(self) -> Inventory | None:
        return self.inventories.get(self.weights[0]) if self.weights else None

    def digests(self) -> list[Digest]:
        return [*self.weights, *self.projectors, *self.adapters]


def blob_path(blobs: Blobs, text: str) -> tuple[Digest, Path]:
    """The uploaded blob that a request names; `InvalidDigest`, `InvalidRequest` when it is not here."""
    digest = Digest(text)
    if not blobs.has(digest):
        raise InvalidRequest(f'blob "{digest}" not found')
    return digest, blobs.path(digest)


def has_magic(path: Path) -> bool:
    with os.fdopen(open_regular(path), "rb") as file:
        return file.read(4) == MAGIC


def is_gguf_blob(blobs: Blobs, text: str) -> bool:
    """Whether an uploaded file is a GGUF by its content, whatever it is called."""
    try:
        _, path = blob_path(blobs, text)
        return has_magic(path)
    except (InvalidRequest, CorruptData):
        return False


def read_gguf(blobs: Blobs, text: str) -> Found:
    """One file of a request; None in place of an inventory for a part of a split model."""
    digest, path = blob_path(blobs, text)
    if not has_magic(path):
        raise InvalidRequest("supplied file was not in GGUF format")
    return digest, None if is_split(path) else read_paths([path])


def is_split(path: Path) -> bool:
    from converters.gguf.reader import read_header

    try:
        count = read_header(path).metadata.get("split.count", 0)
    except SourceError as error:
        raise refusal(error) from error
    return type(count) is int and count > 1


def refusal(error: SourceError) -> InvalidRequest:
    """The reader's words, which may quote bytes of the file that are no text."""
    return InvalidRequest(str(error).encode("utf-8", "surrogateescape").decode("utf-8", "replace"))


def read_paths(paths: Iterable[Path]) -> Inventory:
    try:
        return inventory.read(list(paths))
    except SourceError as error:
        raise refusal(error) from error


def sort_sources(blobs: Blobs, found: list[Found]) -> Sources:
    """By kind; the parts of a split model are put in order and read as one."""
    sources = Sources()
    for digest, contents in found:
        if contents is None:
            sources.weights.append(digest)
        else:
            sources.inventories[digest] = contents
            _place(sources, digest, contents)
    if len(sources.weights) > 1 or (sources.weights and sources.model() is None):
        _join_parts(blobs, sources)
    model = sources.model()
    if model is not None:
        check_architecture(model)
    for digest in sources.projectors:
        check_projector(sources.inventories[digest])
    return sources


def _place(sources: Sources, digest: Digest, contents: Inventory) -> None:
    kind = contents.metadata.get("general.type")
    if contents.architecture == "clip" or kind in ("mmproj", "projector"):
        sources.projectors.append(digest)
    elif kind == "adapter":
        sources.adapters.append(digest)
    else:
        sources.weights.append(digest)


def _join_parts(blobs: Blobs, sources: Sources) -> None:
    """Several files of weights are one split model, or an error."""
    whole = read_paths(blobs.path(digest) for digest in sources.weights)
    by_path = {blobs.path(digest): digest for digest in sources.weights}
    sources.weights = [by_path[path] for path in whole.files]
    sources.inventories[sources.weights[0]] = whole


def canonicalise(blobs: Blobs, sources: Sources) -> Iterator[Progress]:
    """Put the weights into Ollama's form, as one file. Blocks; a line for every few MiB.

    The file stays as it was uploaded when that is the same, or when the disk has no room for another.
    """
    model = sources.model()
    if model is None:
        return
    form = Canonical(model)
    if form.is_source() or shutil.disk_usage(blobs.folder).free < form.size + SPARE_BYTES:
        return
    told = 0
    with blobs.writer() as writer:
        for piece in form.pieces():
            writer.write(piece)
            if writer.size - told >= REPORT_BYTES:
                told = writer.size
                yield Progress(status=VERIFYING, total=form.size, completed=told)
        is_new = not blobs.has(writer.digest)
        digest = writer.commit()
    sources.weights = [digest]
    sources.inventories[digest] = read_paths([blobs.path(digest)])
    if is_new:
        sources.new.add(digest)


def check_architecture(model: Inventory) -> None:
    """Refuse here what would be refused at load."""
    try:
        require_supported(model.architecture)
    except SourceError as error:
        raise refusal(error) from error


def check_projector(projector: Inventory) -> None:
    try:
        require_projector(projector)
    except SourceError as error:
        raise refusal(error) from error


def add_layers(draft: Draft, sources: Sources) -> Iterator[Progress]:
    """A layer for each file, and what they say for the configuration."""
    for digest in sources.weights:
        yield draft.add_blob("model", digest, is_new=digest in sources.new)
    for digest in sources.projectors:
        yield draft.add_blob("projector", digest)
    yield from add_adapters(draft, sources)
    describe(draft, sources)


def add_adapters(draft: Draft, sources: Sources) -> Iterator[Progress]:
    """These stay beside the weights, whatever becomes of those."""
    for digest in sources.adapters:
        yield draft.add_blob("adapter", digest)


def describe(draft: Draft, sources: Sources) -> None:
    """Fill in the configuration's keys that the request's `info` did not set."""
    families = [
        sources.inventories[digest].architecture
        for digest in (*sources.weights[:1], *sources.projectors)
    ]
    model = sources.model()
    config = draft.config
    config["model_families"] = [*config.get("model_families", ()), *families]
    config.setdefault("model_format", "gguf")
    if model is not None:
        config.setdefault("model_family", model.architecture)
        config.setdefault("model_type", human_number(model.parameter_count))
        config.setdefault("file_type", model.file_type)
