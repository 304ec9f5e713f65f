"""A model made from one that is here: its layers and configuration are inherited."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from pathlib import Path

import msgspec
from msgspec.structs import asdict

from mlx_ollama.api.models import Progress
from mlx_ollama.create.adapters import add_adapters
from mlx_ollama.create.checks import Wanted
from mlx_ollama.create.draft import Draft
from mlx_ollama.create.quantization import check_source
from mlx_ollama.create.tensors import add_tensors, gguf_files
from mlx_ollama.store import threads
from mlx_ollama.store.model import Model
from mlx_ollama.store.store import Store

_WEIGHTS = ("model", "projector", "tensor", "json", "draft")  # adapters stay as they are


async def from_model(draft: Draft, wanted: Wanted, store: Store) -> AsyncGenerator[Progress]:
    """All layers of the base, each marked with its name; with `quantize` its weights are made anew."""
    assert wanted.base is not None
    name = wanted.base
    base = await threads.run(lambda: store.resolve(name))
    without: tuple[str, ...] = ("params",)  # written anew with what the request adds
    draft.parameters |= await threads.run(lambda: base.parameters)
    if needs_quantizing(wanted, base):
        without = ("params", *_WEIGHTS)
        status = f"quantizing {base.config.file_type} model to {wanted.quantize}"
        lines = add_tensors(draft, source_files(base), status, wanted.quantize)
        async with aclosing(lines):
            async for line in lines:
                yield line
        inherit_words(draft, base)
    else:
        inherit_config(draft, base)
    for line in await threads.run(lambda: list(_inherited(draft, base, without))):
        yield line
    async with aclosing(add_adapters(draft, wanted.request.adapters)) as lines:
        async for line in lines:
            yield line


def needs_quantizing(wanted: Wanted, base: Model) -> bool:
    """Whether other weights are asked for than the base has; then its own must be floats."""
    if not wanted.quantize or wanted.quantize == base.config.file_type.upper():
        return False
    check_source(base.config.file_type)
    return True


def source_files(base: Model) -> dict[str, Path]:
    """The weights of a model as the files of a source."""
    if not base.tensors:
        return gguf_files(base.weights, base.projectors)
    return base.files | {f"{name}.safetensors": path for name, path in base.tensors.items()}


def _inherited(draft: Draft, base: Model, without: tuple[str, ...]) -> Iterator[Progress]:
    for layer in base.manifest.layers:
        if layer.kind not in without:
            yield draft.add(msgspec.structs.replace(layer, from_=base.short_name))


def inherit_config(draft: Draft, base: Model) -> None:
    """The request's `info` wins; a family of its own goes in front of the inherited ones."""
    given = dict(draft.config)
    draft.config.update(asdict(base.config))
    draft.config.update(given)
    families = base.config.model_families or []
    draft.config["model_families"] = [*given.get("model_families", ()), *families] or None


def inherit_words(draft: Draft, base: Model) -> None:
    """Of a base whose weights are made anew only what is said about prompts and answers."""
    draft.config["renderer"] = base.config.renderer
    draft.config["parser"] = base.config.parser
