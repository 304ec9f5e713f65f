"""A manifest resolved: everything about a model that its layers say."""

from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from mlx_ollama.api.messages import Message
from mlx_ollama.errors import NOT_JSON, CorruptData, NotFound
from mlx_ollama.store.blobs import Blobs, Digest
from mlx_ollama.store.manifests import Layer, StoredManifest
from mlx_ollama.store.names import ModelName

DEFAULT_TEMPLATE = "{{ .Prompt }}"


class Draft(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A second model that guesses ahead; kept for real Ollama's models, not used by us."""

    model_format: str = ""
    architecture: str = ""
    tensor_prefix: str = ""
    config: str = ""


class Config(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The configuration blob, keys in Ollama's order; keys that we do not know are left out."""

    # These five are written even when empty, as Ollama does: a factory keeps them from being omitted.
    model_format: str = field(default_factory=str)
    model_family: str = field(default_factory=str)
    model_families: list[str] | None = field(default_factory=lambda: None)
    model_type: str = field(default_factory=str)  # parameter count for people: "8.0B"
    file_type: str = field(default_factory=str)  # quantisation: "Q4_K_M"
    renderer: str = ""
    parser: str = ""
    requires: str = ""
    remote_host: str = ""
    remote_model: str = ""
    capabilities: list[str] = field(default_factory=list)
    context_length: int = 0
    embedding_length: int = 0
    base_name: str = ""
    draft: Draft | None = None
    architecture: str = field(default_factory=lambda: "amd64")
    os: str = field(default_factory=lambda: "linux")


class Model:
    """A model that is here. Small layers are read when first asked for (a few blocking reads), then kept.

    Invariant: when it was resolved, every layer was a regular file of the size that the manifest says.
    """

    def __init__(self, stored: StoredManifest, blobs: Blobs) -> None:
        self.name: ModelName = stored.name
        self.digest: str = stored.digest
        self.modified_at: datetime = stored.modified_at
        self.manifest = stored.manifest
        self._blobs = blobs

    def __repr__(self) -> str:
        return f"Model({self.name})"

    @property
    def size(self) -> int:
        """Bytes of all layers and the configuration."""
        return self.manifest.size

    @property
    def short_name(self) -> str:
        """The display form, `smol:latest`."""
        return str(self.name)

    @property
    def is_remote(self) -> bool:
        """A stub that names a model on Ollama's own service."""
        return bool(self.config.remote_host)

    @property
    def parent(self) -> str:
        """The display name of the model this one was made from."""
        return next(
            (layer.from_ for layer in self.manifest.of_kind("model", "tensor") if layer.from_), ""
        )

    @cached_property
    def config(self) -> Config:
        layer = self.manifest.config
        keys = decode_layer(self._bytes(layer), dict[str, Any], layer.digest)
        try:
            return msgspec.convert({k: v for k, v in keys.items() if v is not None}, Config)
        except msgspec.ValidationError as error:
            raise missing(layer.digest) from error

    @cached_property
    def template(self) -> str | None:
        """The text of the TEMPLATE layer; None when there is none."""
        layers = self.manifest.of_kind("template", "prompt")
        return self._text(layers[-1]) if layers else None

    @cached_property
    def system(self) -> str:
        layers = self.manifest.of_kind("system")
        return self._text(layers[-1]) if layers else ""

    @cached_property
    def licenses(self) -> list[str]:
        return [self._text(layer) for layer in self.manifest.of_kind("license")]

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """Options as they were given: names and values are not checked."""
        return self._json("params", dict[str, Any], {})

    @cached_property
    def messages(self) -> list[Message]:
        return self._json("messages", list[Message], [])

    @property
    def weights(self) -> list[Path]:
        """GGUF parts in order; empty for a model of tensor blobs."""
        return self._paths("model")

    @property
    def projectors(self) -> list[Path]:
        return self._paths("projector")

    @property
    def adapters(self) -> list[Path]:
        return self._paths("adapter")

    @cached_property
    def tensors(self) -> dict[str, Path]:
        """Tensor or group name to its blob (MLX layout)."""
        return {
            layer.name: self._blobs.path(layer.digest) for layer in self.manifest.of_kind("tensor")
        }

    @cached_property
    def files(self) -> dict[str, Path]:
        """`config.json`, `tokenizer.json` … to their blobs (MLX layout)."""
        return {
            layer.name: self._blobs.path(layer.digest) for layer in self.manifest.of_kind("json")
        }

    def check(self) -> None:
        """`CorruptData` unless every blob is here with its size. Contents are not hashed."""
        for layer in (self.manifest.config, *self.manifest.layers):
            if not self._blobs.is_whole(layer.digest, layer.size):
                raise missing(layer.digest)

    def weight_digests(self) -> list[Digest]:
        """Of all that weights are derived from: parts, projectors, adapters, tensors, files."""
        kinds = ("model", "projector", "adapter", "tensor", "json")
        return [layer.digest for kind in kinds for layer in self.manifest.of_kind(kind)]

    def source_digests(self) -> list[Digest]:
        """Of what a GGUF's MLX weights are made of: adapters stay beside them."""
        return [
            layer.digest for kind in ("model", "projector") for layer in self.manifest.of_kind(kind)
        ]

    def _paths(self, kind: str) -> list[Path]:
        return [self._blobs.path(layer.digest) for layer in self.manifest.of_kind(kind)]

    def _text(self, layer: Layer) -> str:
        return self._bytes(layer).decode("utf-8", "replace")

    def _bytes(self, layer: Layer) -> bytes:
        try:
            return self._blobs.read(layer.digest)
        except NotFound as error:
            raise missing(layer.digest) from error

    def _json(self, kind: str, expected: Any, default: Any) -> Any:
        layers = self.manifest.of_kind(kind)
        if not layers:
            return default
        return decode_layer(self._bytes(layers[-1]), expected, layers[-1].digest)


def missing(digest: Digest) -> CorruptData:
    """The error of a model whose blob is gone or has another size."""
    return CorruptData(
        f"model data is corrupted (blob {digest.file_name}): pull or create it again"
    )


def decode_layer(content: bytes, expected: Any, digest: Digest) -> Any:
    """A JSON layer; `CorruptData` when it is not what it should be."""
    try:
        return msgspec.json.decode(content, type=expected)
    except NOT_JSON as error:
        raise missing(digest) from error
