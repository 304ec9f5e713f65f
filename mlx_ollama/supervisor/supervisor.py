"""Which models are loaded, and who may use them."""

from contextlib import AbstractAsyncContextManager

from mlx_ollama.supervisor.lease import Lease
from mlx_ollama.supervisor.spec import Limits, LoadedModel, RunnerSpec


class Supervisor:
    """Made inside a running event loop; `close` before the loop ends."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()

    def lease(
        self, spec: RunnerSpec, keep_alive: float | None = None
    ) -> AbstractAsyncContextManager[Lease]:
        """A place on the model's runner, loading it first if need be.

        `keep_alive` is seconds: None keeps what the model has (first load: the limit's), negative is forever,
        0 unloads when the last request ends. Raises Busy when the queue or memory is full, LoadFailed when
        the model cannot be loaded. Loading only (`/api/generate` without a prompt): enter and leave.
        """
        raise NotImplementedError

    def unload(self, digest: str) -> None:
        """The model's runner goes when its running requests end; at once when there are none."""
        raise NotImplementedError

    def loaded(self) -> list[LoadedModel]:
        """Ready models, longest remaining time first."""
        raise NotImplementedError

    async def close(self, grace_seconds: float = 5.0) -> None:
        """Refuse new leases, let running requests end for `grace_seconds`, then end every runner."""
        raise NotImplementedError
