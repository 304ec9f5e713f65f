"""LoRA adapters of a create request to a layer: a GGUF as it is, PEFT's or mlx-lm's two files as one (the settings go
into the header of the weights)."""

import os
from collections.abc import AsyncGenerator
from pathlib import Path

from mlx_ollama.api.models import Progress
from mlx_ollama.create import gguf
from mlx_ollama.create.checks import check_file_names
from mlx_ollama.create.converter import fit_adapter
from mlx_ollama.create.draft import Draft
from mlx_ollama.create.tensors import read_listing
from mlx_ollama.errors import InvalidRequest
from mlx_ollama.store import threads
from mlx_ollama.store.durable import open_regular

WEIGHTS = ".safetensors"
PEFT_FILES = (WEIGHTS, "adapter_config.json")
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
ONE = "only one adapter is currently supported"


async def add_adapters(draft: Draft, files: dict[str, str]) -> AsyncGenerator[Progress]:
    """The one adapter of a request; it takes the place of an inherited one. The model's layers are in the draft.

    `InvalidRequest` for what is no adapter, and for one that does not fit the model in all of its parts.
    """
    if not files:
        return
    check_file_names(files)
    files = await threads.run(lambda: _with_endings(draft, files))
    if any(name.endswith(WEIGHTS) for name in files):
        yield Progress(status="converting adapter")
        used = {name: text for name, text in files.items() if name.endswith(PEFT_FILES)}
        if sum(name.endswith(WEIGHTS) for name in used) > 1:
            raise InvalidRequest(ONE)
        chosen = await threads.run(lambda: _paths(draft, used))
        draft.remove("adapter")
        for line in await _fit(draft, chosen):
            yield line
        return
    if any(name.endswith(PICKLES) for name in files):
        raise InvalidRequest("unsupported weights format")
    yield Progress(status="parsing GGUF")
    if len(files) > 1:
        raise InvalidRequest(ONE)
    draft.remove("adapter")
    text = next(iter(files.values()))
    line = await threads.run(lambda: _add_gguf(draft, text))
    await check_adapter(draft)
    yield line


def _with_endings(draft: Draft, files: dict[str, str]) -> dict[str, str]:
    """A file that was stored by us and comes alone, as a shown Modelfile names it, is told by its content."""
    if len(files) != 1 or next(iter(files)).endswith((WEIGHTS, *PICKLES)):
        return files
    ((name, text),) = files.items()
    _, path = gguf.blob_path(draft.blobs, text)
    with os.fdopen(open_regular(path), "rb") as file:
        is_safetensors = file.read(10)[8:] == b'{"'
    return {name + WEIGHTS: text} if is_safetensors else files


def _paths(draft: Draft, files: dict[str, str]) -> dict[str, Path]:
    """By the names without folders."""
    return {
        name.rpartition("/")[2]: gguf.blob_path(draft.blobs, text)[1]
        for name, text in files.items()
    }


def _add_gguf(draft: Draft, text: str) -> Progress:
    digest, contents = gguf.read_gguf(draft.blobs, text)
    if contents is None or contents.metadata.get("general.type") != "adapter":
        raise InvalidRequest("supplied file is not an adapter")
    return draft.add_blob("adapter", digest)


async def check_adapter(draft: Draft) -> None:
    """`InvalidRequest` unless the draft's adapter, if it has one, fits its model."""
    layers = [layer for layer in draft.layers if layer.kind == "adapter"]
    if len(layers) > 1:
        raise InvalidRequest(ONE)
    if layers:
        await _fit(draft, {"adapter": draft.blobs.path(layers[0].digest)})


async def _fit(draft: Draft, files: dict[str, Path]) -> list[Progress]:
    """A line for the layer that two files became; none for a GGUF."""
    workspace = draft.blobs.workspace()
    folder = await threads.run(workspace.__enter__)
    try:
        await fit_adapter(files, base_files(draft), folder)
        return await threads.run(lambda: _adopt(draft, folder / "blobs"))
    finally:
        await threads.run(lambda: workspace.__exit__(None, None, None))


def _adopt(draft: Draft, folder: Path) -> list[Progress]:
    layers = [made.layer() for made in read_listing(folder / "layers.json").layers]
    new = draft.blobs.adopt(folder, [layer.digest for layer in layers])
    draft.made |= new
    return [draft.add(layer, is_new=layer.digest in new) for layer in layers]


def base_files(draft: Draft) -> dict[str, Path]:
    """The files of a draft's model, by their names in a checkpoint or, for parts of a GGUF, numbered."""
    path = draft.blobs.path
    weights = [path(layer.digest) for layer in draft.layers if layer.kind == "model"]
    if weights:
        return {f"{number}.gguf": file for number, file in enumerate(weights)}
    endings = {"tensor": ".safetensors", "json": ""}
    found = {
        layer.name + endings[layer.kind]: path(layer.digest)
        for layer in draft.layers
        if layer.kind in endings
    }
    if not found:
        raise InvalidRequest("an adapter needs a model")
    return found
