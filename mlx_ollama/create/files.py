"""A model made from uploaded files."""

import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from functools import partial

from mlx_ollama.api.models import Progress
from mlx_ollama.conversion import Conversions, Source
from mlx_ollama.create import gguf, tensors
from mlx_ollama.create.adapters import add_adapters, check_adapter
from mlx_ollama.create.chat_templates import add_turn_format
from mlx_ollama.create.checks import Wanted
from mlx_ollama.create.draft import Draft
from mlx_ollama.create.quantization import check_source
from mlx_ollama.errors import CorruptData, InvalidRequest, MlxOllamaError
from mlx_ollama.ipc.messages import Load, Progress as Converted
from mlx_ollama.store import threads
from mlx_ollama.store.blobs import Blobs

log = logging.getLogger(__name__)

CONVERTING = "converting model"
# Most of them pickles, which run code.
REFUSED = (".bin", ".pt", ".pth", ".ckpt", ".npy", ".npz", ".pkl")


async def from_files(
    draft: Draft, wanted: Wanted, conversions: Conversions | None
) -> AsyncGenerator[Progress]:
    """Layers of the files that a request names, checked and converted. `InvalidRequest` for bad ones."""
    files = wanted.request.files or {}
    if await threads.run(lambda: kind_of(draft.blobs, files)) == "safetensors":
        made = _from_checkpoint(draft, wanted, files)
    else:
        made = _from_gguf(draft, wanted, conversions)
    async with aclosing(made) as lines:
        async for line in lines:
            yield line
    if wanted.request.adapters:
        async with aclosing(add_adapters(draft, wanted.request.adapters)) as lines:
            async for line in lines:
                yield line
    else:
        await check_adapter(draft)


async def _from_checkpoint(
    draft: Draft, wanted: Wanted, files: dict[str, str]
) -> AsyncGenerator[Progress]:
    yield Progress(status=CONVERTING)
    blobs = draft.blobs
    paths = await threads.run(
        lambda: {n: gguf.blob_path(blobs, text)[1] for n, text in files.items()}
    )
    lines = tensors.add_tensors(draft, paths, CONVERTING, wanted.quantize)
    async with aclosing(tensors.with_turns(draft, lines, wanted)) as lines:
        async for line in lines:
            yield line


async def _from_gguf(
    draft: Draft, wanted: Wanted, conversions: Conversions | None
) -> AsyncGenerator[Progress]:
    found: list[gguf.Found] = []
    for text in (wanted.request.files or {}).values():
        yield Progress(status="parsing GGUF")
        found.append(await threads.run(partial(gguf.read_gguf, draft.blobs, text)))
    sources = await threads.run(lambda: gguf.sort_sources(draft.blobs, found))
    if needs_quantizing(wanted, sources):
        made = _quantized(draft, wanted, sources)
    else:
        made = _as_it_is(draft, wanted, sources, conversions)
    async with aclosing(made) as lines:
        async for line in lines:
            yield line


def needs_quantizing(wanted: Wanted, sources: gguf.Sources) -> bool:
    """Whether other weights are asked for than the file has; then they must be floats."""
    model = sources.model()
    if not wanted.quantize or model is None or wanted.quantize == model.file_type.upper():
        return False
    check_source(model.file_type)
    return True


async def _quantized(
    draft: Draft, wanted: Wanted, sources: gguf.Sources
) -> AsyncGenerator[Progress]:
    model = sources.model()
    assert model is not None
    paths = [draft.blobs.path(digest) for digest in sources.projectors]
    files = tensors.gguf_files(model.files, paths)
    status = f"quantizing {model.file_type} model to {wanted.quantize}"
    lines = tensors.add_tensors(draft, files, status, wanted.quantize)
    async with aclosing(tensors.with_turns(draft, lines, wanted)) as lines:
        async for line in lines:
            yield line
    for line in await threads.run(lambda: list(gguf.add_adapters(draft, sources))):
        yield line


async def _as_it_is(
    draft: Draft, wanted: Wanted, sources: gguf.Sources, conversions: Conversions | None
) -> AsyncGenerator[Progress]:
    """The GGUF itself is kept."""
    yield Progress(status=gguf.VERIFYING)
    async with aclosing(threads.in_thread(gguf.canonicalise(draft.blobs, sources))) as lines:
        async for line in lines:
            yield line
    if conversions is not None and sources.model() is not None:
        async with aclosing(_convert(draft, wanted, sources, conversions)) as lines:
            async for line in lines:
                yield line
    for line in await threads.run(lambda: list(_layers(draft, wanted, sources))):
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


async def _convert(
    draft: Draft, wanted: Wanted, sources: gguf.Sources, conversions: Conversions
) -> AsyncGenerator[Progress]:
    """Fill the derived cache, which also proves that the model can be converted.

    A cache that cannot be filled is no reason to refuse a model; a source that cannot be converted is.
    """
    paths = {digest: draft.blobs.path(digest) for digest in sources.digests()}
    source = Source(
        gguf=tuple(paths[digest] for digest in sources.weights),
        digests=(*sources.weights, *sources.projectors),
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
        text = model.metadata.get("tokenizer.chat_template")
        yield from add_turn_format(draft, text, keeps_own=bool(wanted.request.template))
