"""Models of tensor blobs: what a converter made becomes layers and a configuration."""

from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import aclosing
from math import prod
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from mlx_ollama.api.models import Progress
from mlx_ollama.create.chat_templates import add_turn_format
from mlx_ollama.create.checks import Wanted
from mlx_ollama.create.converter import import_blobs
from mlx_ollama.create.draft import Draft
from mlx_ollama.errors import NOT_JSON, CorruptData, InvalidDigest
from mlx_ollama.store import threads
from mlx_ollama.store.blobs import Digest
from mlx_ollama.store.durable import read_regular
from mlx_ollama.store.humanise import human_number
from mlx_ollama.store.manifests import Layer, decode_digest
from mlx_ollama.store.tensor_blobs import blob_tensors, chat_template_of, read_blob_header

MAX_LISTING = 64 << 20
MIN_OLLAMA = "0.19.0"  # the first Ollama that reads this layout
KINDS = ("tensor", "json", "adapter")
# Ollama shows a bar for lines that have a digest; its own for quantising is this one.
BAR = "0" * 19
_EMBEDDING_FAMILIES = ("bert", "roberta", "nomic_bert", "modernbert")
_POOLING = "1_Pooling/config.json"  # only models that are made for vectors have one


def gguf_files(weights: Iterable[Path], projectors: Iterable[Path]) -> dict[str, Path]:
    """The files of a GGUF by the names that a converter tells them by."""
    found = {f"{number}.gguf": path for number, path in enumerate(weights)}
    return found | {f"projector-{number}.gguf": path for number, path in enumerate(projectors)}


class MadeLayer(Struct, frozen=True):
    """A file that the converter made, called by its digest."""

    media_type: str
    name: str
    digest: Digest
    size: int

    def __post_init__(self) -> None:
        if self.layer().kind not in KINDS:
            raise ValueError("no layer of a converter's")

    def layer(self) -> Layer:
        return Layer(media_type=self.media_type, digest=self.digest, size=self.size, name=self.name)


class Made(Struct, frozen=True, kw_only=True):
    """The converter's `layers.json`."""

    layers: list[MadeLayer]
    file_type: str = ""
    architecture: str = ""


_decoder = msgspec.json.Decoder(Made, dec_hook=decode_digest)


async def add_tensors(
    draft: Draft, files: Mapping[str, Path], status: str, quantize: str = ""
) -> AsyncGenerator[Progress]:
    """Import `files` and add what comes of them. Lines with `status` tell the progress."""
    workspace = draft.blobs.workspace()
    folder = await threads.run(workspace.__enter__)
    try:
        async with aclosing(import_blobs(files, folder, quantize)) as steps:
            async for step in steps:
                if step.total:
                    yield Progress(
                        status=status, digest=BAR, total=step.total, completed=step.completed
                    )
        yield Progress(status="verifying conversion")
        lines = _adopt(draft, folder / "blobs")
        for line in await threads.run(lambda: list(lines)):
            yield line
    finally:
        await threads.run(lambda: workspace.__exit__(None, None, None))


def _adopt(draft: Draft, folder: Path) -> Iterator[Progress]:
    """A line for each file; tensors, which may be thousands, have had their bar."""
    made = read_listing(folder / "layers.json")
    layers = [layer.layer() for layer in made.layers]
    new = draft.blobs.adopt(folder, [layer.digest for layer in layers])
    draft.made |= new
    for layer in layers:
        line = draft.add(layer, is_new=layer.digest in new)
        if layer.kind == "json":
            yield line
    describe(draft, made)


def read_listing(path: Path) -> Made:
    """`CorruptData` for anything that a converter of ours would not write."""
    try:
        return _decoder.decode(read_regular(path, MAX_LISTING))
    except (OSError, InvalidDigest, msgspec.MsgspecError) as error:
        raise CorruptData("the conversion made no model") from error


def describe(draft: Draft, made: Made) -> None:
    """Fill in the configuration's keys that the request's `info` did not set."""
    config = draft.config
    config["model_format"] = "safetensors"
    config.setdefault("model_family", made.architecture)
    config["model_families"] = [*config.get("model_families", ()), made.architecture]
    config.setdefault("model_type", human_number(_parameter_count(draft)))
    config.setdefault("file_type", made.file_type)
    has_pooling = any(layer.name == _POOLING for layer in draft.layers)
    settings = _file(draft, "config.json")
    config.setdefault("capabilities", own_capabilities(made.architecture, settings, has_pooling))
    config.setdefault("requires", MIN_OLLAMA)


async def with_turns(
    draft: Draft, lines: AsyncGenerator[Progress], wanted: Wanted
) -> AsyncGenerator[Progress]:
    """The same lines, and what the model's own chat template implies."""
    async with aclosing(lines):
        async for line in lines:
            yield line
    settings = await threads.run(lambda: _file(draft, "tokenizer_config.json"))
    template, keeps_own = chat_template_of(settings), bool(wanted.request.template)
    for line in await threads.run(
        lambda: list(add_turn_format(draft, template, keeps_own=keeps_own))
    ):
        yield line


def _file(draft: Draft, name: str) -> dict[str, Any]:
    """A JSON layer's object; empty when there is none."""
    layers = [layer for layer in draft.layers if layer.kind == "json" and layer.name == name]
    if not layers:
        return {}
    try:
        return msgspec.json.decode(draft.blobs.read(layers[0].digest), type=dict[str, Any])
    except NOT_JSON:
        return {}


def own_capabilities(
    architecture: str, settings: Mapping[str, Any], has_pooling: bool = False
) -> list[str]:
    """What the weights can do; templates and parsers add to it when the model is described."""
    name = architecture.replace("-", "_")
    is_encoder = name.endswith(_EMBEDDING_FAMILIES) or settings.get("use_bidirectional_attention")
    own = ["embedding" if is_encoder or has_pooling else "completion"]
    return [*own, "vision"] if settings.get("vision_config") else own


def _parameter_count(draft: Draft) -> int:
    paths = (draft.blobs.path(layer.digest) for layer in draft.layers if layer.kind == "tensor")
    return sum(
        prod(tensor.shape) for path in paths for tensor in blob_tensors(read_blob_header(path))
    )
