"""What is looked at before a byte of a model is fetched."""

import re
import shutil
from collections.abc import Iterable

import msgspec
from msgspec import Struct

from mlx_ollama.errors import NOT_JSON, CorruptData, InvalidDigest, UpstreamError
from mlx_ollama.registry.partial import missing_bytes
from mlx_ollama.store.blobs import Blobs, Digest
from mlx_ollama.store.manifests import Layer, Manifest, parse_manifest

MAX_LAYERS = 20_000
MAX_CONFIG = 4 << 20
MAX_SIZE = 1 << 50
SPARE_BYTES = 1 << 30
OLLAMA_VERSION = (0, 33)  # what we answer to `requires`
_KNOWN = {
    "model", "draft", "adapter", "projector", "template", "prompt", "system", "params", "messages",
    "license", "embed", "tensor", "json",
}  # fmt: skip
_VERSION = re.compile(r"v?(\d{1,9})\.(\d{1,9})")


class _Config(Struct):
    requires: str = ""


def check_manifest(content: bytes) -> Manifest:
    """A registry's manifest, as far as we can use it. UpstreamError."""
    try:
        manifest = parse_manifest(content)
    except InvalidDigest as error:
        raise UpstreamError("invalid digest format") from error
    except CorruptData as error:
        raise UpstreamError("the registry's manifest makes no sense") from error
    if manifest.schema_version != 2 or not manifest.layers:
        raise UpstreamError("the registry's manifest is not one of a model")
    if len(manifest.layers) > MAX_LAYERS:
        raise UpstreamError(f"the model has more than {MAX_LAYERS} layers")
    _check_sizes(manifest)
    for layer in manifest.layers:
        if layer.kind not in _KNOWN:
            shown = layer.media_type[:100].encode("ascii", "backslashreplace").decode()
            raise UpstreamError(f'layers of type "{shown}" are not supported')
    return manifest


def _check_sizes(manifest: Manifest) -> None:
    sizes: dict[Digest, int] = {}
    for layer in [manifest.config, *manifest.layers]:
        if layer.size > MAX_SIZE or sizes.setdefault(layer.digest, layer.size) != layer.size:
            raise UpstreamError("the sizes in the registry's manifest make no sense")
    if manifest.config.size > MAX_CONFIG:
        raise UpstreamError("the model's configuration is too large")


def check_config(content: bytes) -> None:
    """Refuse a model that says it needs what we are not."""
    try:
        requires = msgspec.json.decode(content, type=_Config).requires
    except NOT_JSON as error:
        raise UpstreamError("the model's configuration makes no sense") from error
    match = _VERSION.match(requires)
    if match and (int(match[1]), int(match[2])) > OLLAMA_VERSION:
        ours = ".".join(map(str, OLLAMA_VERSION))
        raise UpstreamError(
            f"this model requires Ollama {match[0]}, and this is the like of {ours}"
        )


def check_room(blobs: Blobs, layers: Iterable[Layer]) -> None:
    """Room for all that is still missing, before the first byte. Blocks. UpstreamError."""
    sizes = {layer.digest: layer.size for layer in layers}
    needed = sum(missing_bytes(blobs, digest, size) for digest, size in sizes.items())
    folder = next(path for path in (blobs.folder, *blobs.folder.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    if needed > max(0, free - SPARE_BYTES) and needed:
        raise UpstreamError(f"not enough disk space: need {needed} bytes, have {free}")
