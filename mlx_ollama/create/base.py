"""A model made from one that is here: its layers and configuration are inherited."""

from collections.abc import Iterator

import msgspec
from msgspec.structs import asdict

from mlx_ollama.api.models import Progress
from mlx_ollama.create.adapters import add_adapters
from mlx_ollama.create.checks import Wanted
from mlx_ollama.create.draft import Draft
from mlx_ollama.create.quantization import check_source
from mlx_ollama.errors import InvalidRequest
from mlx_ollama.store.model import Model
from mlx_ollama.store.store import Store


def from_model(draft: Draft, wanted: Wanted, store: Store) -> Iterator[Progress]:
    """All layers of the base, each marked with its name. Blocks."""
    assert wanted.base is not None
    base = store.resolve(wanted.base)
    if wanted.quantize and wanted.quantize != base.config.file_type.upper():
        check_source(base.config.file_type)
        raise InvalidRequest(f"quantizing to {wanted.quantize} is not supported yet")
    inherit_config(draft, base)
    draft.parameters |= base.parameters
    for layer in base.manifest.layers:
        if layer.kind == "params":
            continue  # written anew with what the request adds
        yield draft.add(msgspec.structs.replace(layer, from_=base.short_name))
    yield from add_adapters(draft, wanted.request.adapters)


def inherit_config(draft: Draft, base: Model) -> None:
    """The request's `info` wins; a family of its own goes in front of the inherited ones."""
    given = dict(draft.config)
    draft.config.update(asdict(base.config))
    draft.config.update(given)
    families = base.config.model_families or []
    draft.config["model_families"] = [*given.get("model_families", ()), *families] or None
