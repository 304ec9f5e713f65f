"""One model's continuous batch: requests in, events out, a step at a time.

Invariants: every method is called from the one thread that loaded the model. A sequence is waiting,
prefilling, decoding or gone. At a step's end a decoding row's cache covers its prompt and every token
reported so far; one more token is already being computed.
"""

from dataclasses import dataclass

from mlx_ollama.engine.loader import LoadedModel
from mlx_ollama.engine.sequence import Event, Request


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryUse:
    """Bytes. `kv` is live rows and prefix cache together."""

    active: int
    peak: int
    cache: int
    kv: int


class Engine:
    """`parallel`: rows at once (1 when the model's caches cannot stand side by side).

    `memory_limit`: bytes this process may use, 0: find out. `prefix_bytes`: budget of the prefix cache,
    None: a share of what the weights leave free. `target_gap`: seconds between two tokens of a stream
    while another's prompt is prefilled.
    """

    def __init__(
        self,
        model: LoadedModel,
        *,
        parallel: int = 1,
        memory_limit: int = 0,
        prefix_bytes: int | None = None,
        target_gap: float = 0.15,
    ) -> None:
        raise NotImplementedError

    def submit(self, request: Request) -> None:
        """Queue a request. Its own faults (bad token ids, too long) come as FaultEvent from step()."""
        raise NotImplementedError

    def abort(self, id: int) -> None:
        """End a sequence at the next step with FinishEvent(ABORT). Unknown ids are ignored."""
        raise NotImplementedError

    def stop(self, id: int) -> None:
        """End a sequence that met a stop string: as abort, but without an event; its tokens are kept
        for the prefix cache."""
        raise NotImplementedError

    def start_grammar(self, id: int) -> None:
        """Constrain from the next token on (thinking has ended)."""
        raise NotImplementedError

    def step(self) -> list[Event]:
        """Admit, prefill one chunk, decode all rows, sample, report. Blocks while computing.

        An exception out of it means that MLX failed: the process is to end with status 70.
        """
        raise NotImplementedError

    @property
    def has_work(self) -> bool:
        """Whether step() would do anything."""
        raise NotImplementedError

    def memory(self) -> MemoryUse:
        raise NotImplementedError
