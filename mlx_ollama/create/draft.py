"""A model in the making: its layers so far, and what its configuration will say.

Invariant: every layer in it has its blob in the store.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct, field

from mlx_ollama.api.messages import Message
from mlx_ollama.api.models import Progress
from mlx_ollama.store.blobs import Blobs, Digest
from mlx_ollama.store.manifests import CONFIG_TYPE, LAYER_PREFIX, Layer, Manifest, go_json
from mlx_ollama.store.model import Config

_encoder = msgspec.json.Encoder()


class Draft(Struct, kw_only=True):
    """`config` holds the keys of the configuration that are known, `parameters` the options so far."""

    blobs: Blobs
    layers: list[Layer] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    made: set[Digest] = field(
        default_factory=set
    )  # blobs that are here for this model alone, so far

    def add(self, layer: Layer, *, is_new: bool = False) -> Progress:
        self.layers.append(layer)
        if is_new:
            self.made.add(layer.digest)
        return Progress(
            status=f"{'creating new' if is_new else 'using existing'} layer {layer.digest}"
        )

    def add_blob(
        self, kind: str, digest: Digest, name: str = "", *, is_new: bool = False
    ) -> Progress:
        """A layer of a blob that is here already."""
        size = self.blobs.size(digest)
        layer = Layer(media_type=LAYER_PREFIX + kind, digest=digest, size=size, name=name)
        return self.add(layer, is_new=is_new)

    def add_content(self, kind: str, content: bytes) -> Progress:
        digest, is_new = self.blobs.put(content)
        layer = Layer(media_type=LAYER_PREFIX + kind, digest=digest, size=len(content))
        return self.add(layer, is_new=is_new)

    def replace(self, kind: str, content: bytes) -> Progress:
        """The only layer of its kind."""
        self.remove(kind)
        return self.add_content(kind, content)

    def remove(self, *kinds: str) -> None:
        self.layers = [layer for layer in self.layers if layer.kind not in kinds]

    def has(self, kind: str) -> bool:
        return any(layer.kind == kind for layer in self.layers)

    def merge_parameters(self, given: dict[str, Any]) -> Iterator[Progress]:
        """Given options win over inherited ones, key by key. Nothing is checked, as by Ollama."""
        self.parameters |= given
        if self.parameters:
            yield self.replace("params", to_json(dict(sorted(self.parameters.items()))))

    def replace_messages(self, messages: list[Message]) -> Iterator[Progress]:
        if messages:
            yield self.replace("messages", to_json(messages))

    def manifest(self) -> Manifest:
        """With the configuration written to the store."""
        content = to_json(msgspec.convert(self.config, Config))
        digest, is_new = self.blobs.put(content)
        if is_new:
            self.made.add(digest)
        config = Layer(media_type=CONFIG_TYPE, digest=digest, size=len(content))
        return Manifest(config=config, layers=self.layers)


def to_json(value: Any) -> bytes:
    """As Go's encoder writes it, so that Ollama's and our blobs of the same content are the same."""
    return go_json(_encoder.encode(value))
