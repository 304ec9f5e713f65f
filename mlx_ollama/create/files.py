"""A model made from uploaded files."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

from converters.inventory import Inventory
from mlx_ollama.api.models import Progress
from mlx_ollama.conversion import Conversions, Source
from mlx_ollama.create import gguf
from mlx_ollama.create.adapters import add_adapters
from mlx_ollama.create.chat_templates import detect, is_plain
from mlx_ollama.create.checks import Wanted
from mlx_ollama.create.draft import Draft
from mlx_ollama.create.quantization import check_source
from mlx_ollama.errors import CorruptData, InvalidRequest, MlxOllamaError
from mlx_ollama.ipc.messages import Load, Progress as Converted
from mlx_ollama.store.blobs import Blobs
from mlx_ollama.store.threads import in_thread

log = logging.getLogger(__name__)

REFUSED = (
    ".bin",
    ".pt",
    ".pth",
    ".ckpt",
    ".npy",
    ".npz",
    ".pkl",
)  # most of them pickles, which run code


async def from_files(
    draft: Draft, wanted: Wanted, conversions: Conversions | None
) -> AsyncGenerator[Progress]:
    """Layers of the files that a request names, checked and converted. `InvalidRequest` for bad ones."""
    files = wanted.request.files or {}
    kind = await asyncio.to_thread(kind_of, draft.blobs, files)
    if kind == "safetensors":
        yield Progress(status="converting model")
        raise InvalidRequest("importing safetensors is not supported yet")
    found: list[gguf.Found] = []
    for text in files.values():
        yield Progress(status="parsing GGUF")
        found.append(await asyncio.to_thread(gguf.read_gguf, draft.blobs, text))
    sources = await asyncio.to_thread(gguf.sort_sources, draft.blobs, found)
    check_quantize(wanted, sources.model())
    yield Progress(status=gguf.VERIFYING)
    async with aclosing(in_thread(gguf.canonicalise(draft.blobs, sources))) as lines:
        async for line in lines:
            yield line
    if conversions is not None and sources.model() is not None:
        async with aclosing(_convert(draft, wanted, sources, conversions)) as lines:
            async for line in lines:
                yield line
    for line in await asyncio.to_thread(lambda: list(_layers(draft, wanted, sources))):
        yield line


def kind_of(blobs: Blobs, files: dict[str, str]) -> str:
    """`gguf` or `safetensors`, by name or, for the former, content. `InvalidRequest` (`unknown type`)."""
    for name, text in files.items():
        if name.endswith(".safetensors"):
            return "safetensors"
        if name.endswith(".gguf") or gguf.is_gguf_blob(blobs, text):
            return "gguf"
    if any(name.endswith(REFUSED) for name in files):
        raise InvalidRequest("unsupported weights format")
    raise InvalidRequest("unknown type")


def check_quantize(wanted: Wanted, model: Inventory | None) -> None:
    if not wanted.quantize or model is None or wanted.quantize == model.file_type.upper():
        return
    check_source(model.file_type)
    raise InvalidRequest(f"quantizing to {wanted.quantize} is not supported yet")


async def _convert(
    draft: Draft, wanted: Wanted, sources: gguf.Sources, conversions: Conversions
) -> AsyncGenerator[Progress]:
    """Fill the derived cache, which also proves that the model can be converted.

    A cache that cannot be filled is no reason to refuse a model; a source that cannot be converted is.
    """
    paths = {digest: draft.blobs.path(digest) for digest in sources.digests()}
    source = Source(
        gguf=tuple(paths[digest] for digest in sources.weights),
        digests=tuple(sources.digests()),
        projectors=tuple(paths[digest] for digest in sources.projectors),
        adapters=tuple(paths[digest] for digest in sources.adapters),
    )
    load = Load(model=str(wanted.name), digest=sources.weights[0].hex)
    try:
        async with aclosing(conversions.prepare(load, source)) as events:
            async for event in events:
                if isinstance(event, Converted) and event.total:
                    yield _line(event)
    except CorruptData as error:
        raise InvalidRequest(str(error)) from error
    except InvalidRequest:
        raise
    except (MlxOllamaError, OSError) as error:
        log.warning("weights of %s not kept: %s", wanted.name, error)


def _line(event: Converted) -> Progress:
    return Progress(status=gguf.VERIFYING, total=event.total, completed=event.completed)


def _layers(draft: Draft, wanted: Wanted, sources: gguf.Sources) -> Iterator[Progress]:
    yield from gguf.add_layers(draft, sources)
    model = sources.model()
    if model is not None:
        yield from _chat_template(draft, wanted, model)
    yield from add_adapters(draft, wanted.request.adapters)


def _chat_template(draft: Draft, wanted: Wanted, model: Inventory) -> Iterator[Progress]:
    """What the model's own chat template implies: where turns end and, if it is a plain one, an equal template."""
    text = model.metadata.get("tokenizer.chat_template")
    if not isinstance(text, str) or (form := detect(text)) is None:
        return
    if is_plain(form, text) and not wanted.request.template:
        yield Progress(status=f"using autodetected template {form.name}")
        draft.add_content("template", form.template.encode())
    draft.parameters["stop"] = list(form.stop)
