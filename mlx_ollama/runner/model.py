"""What a runner knows of its one model: the weights for the engine, the text side for everything else."""

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters import adapters, sinks
from converters.errors import SourceError
from mlx_ollama.engine import memory
from mlx_ollama.engine.adapters import low_rank
from mlx_ollama.engine.embeddings import Embedder
from mlx_ollama.engine.grammar import Compiler
from mlx_ollama.engine.loader import (
    LoadedModel,
    LoadError,
    apply_adapter,
    load_directory,
    load_stream,
    load_tensors,
)
from mlx_ollama.engine.pooling import embedder_of
from mlx_ollama.errors import LoadFailed
from mlx_ollama.ipc.messages import Load
from mlx_ollama.runner.files import ModelFiles
from mlx_ollama.runner.formats import Formats
from mlx_ollama.runner.images import Sight
from mlx_ollama.runner.prompting import Prompter
from mlx_ollama.runner.tokenizer import Tokenizer, token_text

MIN_CONTEXT = 4
# An automatic window follows the memory that a model may use, in steps (contract 3.6).
_AUTOMATIC = ((23 << 30, 4096), (47 << 30, 32_768))
_AUTOMATIC_MOST = 262_144


@dataclass(kw_only=True)
class Model:
    """The text side. `key` tells this model's prefixes from those of the same weights with other adapters."""

    tokenizer: Tokenizer
    prompter: Prompter
    formats: Formats
    end_tokens: frozenset[int]
    num_ctx: int
    sight: Sight | None = None  # None: the model does not see
    key: str = ""


@dataclass(frozen=True)
class Source:
    """Where a model comes from. `weights` loads them, on the engine thread only; it raises LoadError."""

    files: ModelFiles
    weights: Callable[[], LoadedModel]


def open_source(load: Load, progress: Callable[[int, int], None]) -> Source:
    """The model that a load names; `progress` hears of bytes while a GGUF is converted. Raises LoadFailed."""
    source = _open_weights(load, progress)
    if not load.adapters:
        return source
    return Source(source.files, lambda: _adapted(source.weights(), load.adapters))


def _adapted(loaded: LoadedModel, paths: list[str]) -> LoadedModel:
    for path in paths:
        parts = {
            part.module: low_rank(part.down, part.up, part.scale)
            for part in adapters.read(Path(path), loaded.config)
        }
        apply_adapter(loaded, parts)
    return loaded


def _open_weights(load: Load, progress: Callable[[int, int], None]) -> Source:
    if load.directory:
        folder = Path(load.directory)
        return Source(ModelFiles(folder), lambda: load_directory(folder, dense=load.dense))
    if load.gguf:
        return _open_gguf(load, progress)
    tensors = {name: Path(path) for name, path in load.tensors.items()}
    files = {name: Path(path) for name, path in load.files.items()}
    return Source(ModelFiles(files), lambda: load_tensors(tensors, files, dense=load.dense))


def _open_gguf(load: Load, progress: Callable[[int, int], None]) -> Source:
    """Converted into this process: nothing is written."""
    paths, projectors = map(Path, load.gguf), map(Path, load.projectors)
    try:
        model = sinks.live(
            [*paths],
            projectors=[*projectors],
            progress=lambda _, done, total: progress(done, total),
        )
    except (SourceError, OSError) as error:
        raise LoadFailed(_reason(error)) from error
    return Source(
        ModelFiles(model.files),
        lambda: load_stream(
            model.config, model.weights, dense=load.dense, processor=model.processor
        ),
    )


def load_weights(source: Source) -> LoadedModel:
    """Only on the engine thread. Raises LoadFailed."""
    try:
        return source.weights()
    except (LoadError, SourceError, OSError) as error:
        raise LoadFailed(_reason(error)) from error


def load_embedder(source: Source, loaded: LoadedModel) -> Embedder | None:
    """What makes vectors of texts, None where nothing does; only on the engine thread. Raises LoadFailed."""
    try:
        return embedder_of(loaded, source.files.read_object)
    except LoadError as error:
        raise LoadFailed(str(error)) from error


def _reason(error: Exception) -> str:
    """What the client may read: an operating system's words without their path."""
    return (error.strerror or "i/o error").lower() if isinstance(error, OSError) else str(error)


def context_window(wanted: int, trained: int) -> int:
    """The context length to run with: what is wished, or what memory suggests, within what was trained."""
    length = wanted if wanted > 0 else _automatic_context()
    return max(min(length, trained) if trained > 0 else length, MIN_CONTEXT)


def _automatic_context() -> int:
    if sys.platform != "darwin":
        return _AUTOMATIC[0][1]  # without an accelerator long windows are of no use
    total = memory.total()
    return next((length for limit, length in _AUTOMATIC if total < limit), _AUTOMATIC_MOST)


@dataclass(kw_only=True)
class Texts:
    """The files beside the weights, read; what depends on the weights is still missing."""

    source: bytes
    tokenizer: Tokenizer
    chat_template: Any
    named_tokens: dict[str, str]
    stated_ends: list[int]
    stated_length: int  # tokens that an embedding model is used with; 0: all that it can


def load_texts(files: ModelFiles) -> Texts:
    """Reads tokenizer and templates; touches no weights. Raises LoadFailed."""
    source = files.read("tokenizer.json")
    if source is None:
        raise LoadFailed("the model has no tokenizer.json")
    config = files.read_object("tokenizer_config.json")
    return Texts(
        source=source,
        tokenizer=Tokenizer(source, config),
        chat_template=_chat_template(files, config),
        named_tokens=_named_tokens(config),
        stated_ends=list(_stated_ends(files)),
        stated_length=_stated_length(files),
    )


def text_model(load: Load, texts: Texts, loaded: LoadedModel) -> Model:
    """The text side of loaded weights. Raises LoadFailed when tokenizer and weights do not match."""
    tokenizer = texts.tokenizer
    tokenizer.limit_to(loaded.vocab_size)
    end_tokens = tokenizer.end_tokens(texts.stated_ends)
    return Model(
        tokenizer=tokenizer,
        prompter=Prompter(
            load.prompting, texts.chat_template, texts.named_tokens, tokenizer.added_texts
        ),
        formats=Formats(lambda: Compiler(texts.source.decode(), loaded.vocab_size, end_tokens)),
        end_tokens=end_tokens,
        num_ctx=context_window(load.num_ctx, texts.stated_length or loaded.context_length),
        sight=Sight(loaded.vision, tokenizer.text_of) if loaded.vision is not None else None,
        key="+".join(load.adapters),
    )


def _stated_ends(files: ModelFiles) -> Iterable[int]:
    for name in ("config.json", "generation_config.json"):
        stated: Any = files.read_object(name).get("eos_token_id")
        for token in stated if isinstance(stated, list) else [stated]:
            if isinstance(token, int) and not isinstance(token, bool):
                yield token


def _stated_length(files: ModelFiles) -> int:
    """Of sentence-transformers, often less than there are positions."""
    stated: Any = files.read_object("sentence_bert_config.json").get("max_seq_length")
    return stated if type(stated) is int and stated > 0 else 0


def _named_tokens(config: dict[str, Any]) -> dict[str, str]:
    """`bos_token`, `eos_token`, … as templates name them."""
    found = {name: token_text(value) for name, value in config.items() if name.endswith("_token")}
    return {name: text for name, text in found.items() if text is not None}


def _chat_template(files: ModelFiles, config: dict[str, Any]) -> Any:
    """chat_template.jinja, else what tokenizer_config.json has: a template, or a list of named ones."""
    return files.text("chat_template.jinja") or config.get("chat_template") or ""
