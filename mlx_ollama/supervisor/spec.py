"""What the supervisor is asked for, what it is allowed, and what it tells `/api/ps`."""

from collections.abc import AsyncGenerator, Callable
from datetime import datetime

from msgspec import Struct

from mlx_ollama.durations import SECOND
from mlx_ollama.ipc.messages import Load, Progress

Preparation = Callable[[], AsyncGenerator[Progress | Load, None]]


class RunnerSpec(Struct, frozen=True, kw_only=True):
    """A model as a runner should hold it. Runners are told apart by `load.digest`.

    `load.num_ctx` 0 is automatic; a number larger than the
    loaded one reloads. `size` is the bytes of the weights on disk, for placement before a load.
    `prepare` runs only when the model has to be loaded: progress while weights are made (it counts as life
    for the load timeout), and last the `Load` to send; closed early when nobody waits any more.
    """

    load: Load
    size: int = 0
    prepare: Preparation | None = None

    @property
    def key(self) -> str:
        return self.load.digest or self.load.model


class Limits(Struct, frozen=True, kw_only=True):
    """The supervisor's bounds. Durations are nanoseconds, `durations.FOREVER` for never.

    `keep_alive` holds for models whose requests never said one. `memory` is bytes for all runners together,
    0: ask the machine; `max_loaded` 0: three. `openblas` is the library preloaded into runners on Linux,
    None: find one, "": none. `command` starts a runner, the socket's number is appended; (): our own.
    """

    max_loaded: int = 0
    max_queue: int = 512
    parallel: int = 4
    keep_alive: int = 300 * SECOND
    load_timeout: int = 300 * SECOND
    hang_timeout: int = 60 * SECOND
    memory: int = 0
    openblas: str | None = None
    command: tuple[str, ...] = ()


class LoadedModel(Struct, frozen=True, kw_only=True):
    """One line of `ps`. `size` is bytes in memory; `expires_at` is now + keep-alive while requests run."""

    name: str
    digest: str
    size: int
    context_length: int
    expires_at: datetime
