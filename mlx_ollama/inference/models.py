"""From the name in a request to a place on a runner."""

import asyncio
import hashlib
from contextlib import AbstractAsyncContextManager
from typing import Any

from msgspec import Raw, Struct

from mlx_ollama import durations
from mlx_ollama.api.options import Options
from mlx_ollama.api.values import KeepAlive
from mlx_ollama.config import Settings
from mlx_ollama.conversion import Conversions, Source
from mlx_ollama.errors import CorruptData, Forbidden, InvalidRequest, NotFound
from mlx_ollama.inference import options
from mlx_ollama.ipc.messages import Load, Prompting
from mlx_ollama.store import describe
from mlx_ollama.store.model import Model
from mlx_ollama.store.reference import parse_reference
from mlx_ollama.store.store import Store
from mlx_ollama.supervisor.lease import Lease
from mlx_ollama.supervisor.spec import RunnerSpec
from mlx_ollama.supervisor.supervisor import Supervisor

NO_FORMAT = (b"", b"null", b'""')


class Found(Struct, frozen=True):
    """A model that is here, and what it can do."""

    model: Model
    capabilities: list[str]


class Models:
    """The models of this server, ready to be asked."""

    def __init__(
        self, settings: Settings, store: Store, conversions: Conversions, supervisor: Supervisor
    ) -> None:
        self._settings = settings
        self._store = store
        self._conversions = conversions
        self._supervisor = supervisor

    async def find(self, sent: str) -> Found:
        """The model of a name as it was sent. `NotFound` says `model 'SENT' not found`."""
        reference = parse_reference(sent)
        if reference.source == "cloud":
            raise Forbidden("ollama cloud is disabled: remote model is unavailable")
        try:
            found = await asyncio.to_thread(self._look_up, reference.base)
        except NotFound as error:
            raise NotFound(f"model '{sent}' not found") from error
        if found.model.is_remote:
            if reference.source == "local":
                raise NotFound(f"model '{sent}' not found")
            raise Forbidden("ollama cloud is disabled: remote model is unavailable")
        return found

    def _look_up(self, base: str) -> Found:
        model = self._store.resolve(base)
        return Found(model, [] if model.is_remote else describe.capabilities(self._store, model))

    def options(self, model: Model, given: dict[str, Any] | None) -> Options:
        """The options of a request to a model; `InvalidRequest` names a wrong one."""
        default = self._settings.context_length
        return options.resolve(model.parameters, given, num_ctx=default)

    def unload(self, model: Model) -> None:
        """Ends the model's runner when its running requests have ended."""
        self._supervisor.unload(_weights_key(model))

    def lease(
        self, model: Model, chosen: Options, keep_alive: KeepAlive | None
    ) -> AbstractAsyncContextManager[Lease]:
        """A place on the model's runner, which is started if need be."""
        return self._supervisor.lease(self._spec(model, chosen), keep_alive)

    def _spec(self, model: Model, chosen: Options) -> RunnerSpec:
        load = self._load(model, chosen)
        if model.tensors:
            return RunnerSpec(load=load, size=model.size)
        if not model.weights:
            raise CorruptData("the model has no weights")
        source = Source(
            gguf=tuple(model.weights),
            digests=tuple(model.source_digests()),
            projectors=tuple(model.projectors),
            adapters=tuple(model.adapters),
        )
        return RunnerSpec(
            load=load,
            size=model.size,
            prepare=lambda: self._conversions.prepare(load, source),
        )

    def _load(self, model: Model, chosen: Options) -> Load:
        return Load(
            model=model.short_name,
            digest=_weights_key(model),
            tensors={name: str(path) for name, path in model.tensors.items()},
            files={name: str(path) for name, path in model.files.items()},
            projectors=[str(path) for path in model.projectors],
            adapters=[str(path) for path in model.adapters],
            prompting=prompting_of(model),
            num_ctx=chosen.num_ctx,
            parallel=self._settings.num_parallel,
            dense=self._settings.dense,
        )


def prompting_of(model: Model) -> Prompting:
    """How the model is spoken to; it goes with each request, because models share runners."""
    return Prompting(
        renderer=model.config.renderer,
        parser=model.config.parser,
        template=model.template or "",
        family=model.config.model_family,
    )


def _weights_key(model: Model) -> str:
    """The same for all models that are made of the same weights: those share one runner."""
    return hashlib.sha256("".join(model.weight_digests()).encode()).hexdigest()


def check_format(wanted: Raw) -> bytes:
    """The format of a request, empty for none. `InvalidRequest` unless it is "json" or a schema object."""
    text = bytes(wanted).strip()
    if text in NO_FORMAT:
        return b""
    if text == b'"json"' or text.startswith(b"{"):
        return text
    shown = durations.quote(text.decode("utf-8", "replace"))
    raise InvalidRequest(f'invalid format: {shown}; expected "json" or a valid JSON Schema object')


def check_top_logprobs(top_logprobs: int) -> None:
    """The one range that is looked at before anything else."""
    if not 0 <= top_logprobs <= 20:
        raise InvalidRequest("top_logprobs must be between 0 and 20")
