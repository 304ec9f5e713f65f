"""A sequence: one request as the engine sees it, in token ids, and what it reports of each step."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol


class FinishReason(Enum):
    STOP = "stop"  # an end token, or the caller's stop string
    LENGTH = "length"
    ABORT = "abort"


@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """Ollama's options as they act on logits; order of effects as design.md says. `seed` None: random."""

    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 0.9
    min_p: float = 0.0
    typical_p: float = 1.0
    seed: int | None = None
    repeat_penalty: float = 1.0
    repeat_last_n: int = 64
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    top_logprobs: int | None = None  # None: no log-probabilities wanted; 0: only the chosen token's


class GrammarFault(Exception):
    """A constraint that cannot go on; ends its sequence alone."""


class Grammar(Protocol):
    """A constraint on what may come next; lives on the engine thread. Built by `engine/grammar.py`."""

    def allow(self, token: int) -> None:
        """Take the token that was sampled. Raises GrammarFault."""
        ...

    def fill(self, mask: Any) -> None:
        """Write which tokens may come next, a bit a token, into uint32 words. Raises GrammarFault."""
        ...

    @property
    def is_finished(self) -> bool: ...


@dataclass(kw_only=True)
class Request:
    """What the runner submits. `ids` is the whole prompt; `num_ctx` bounds prompt plus output.

    `shift` allows dropping the oldest half beyond `num_keep` when the window is full.
    `checkpoints` are prompt positions (message ends) worth a snapshot. `key` separates prefixes that look alike
    but are not (adapters, image content). `embeddings` is the vision.prompt.ImagePrompt of a prompt with images.
    """

    id: int
    ids: list[int]
    sampling: SamplingParams = field(default_factory=SamplingParams)
    max_tokens: int | None = None
    num_ctx: int
    num_keep: int = 0
    shift: bool = True
    end_tokens: frozenset[int] = frozenset()
    grammar: Any = None
    grammar_active: bool = (
        True  # False: the runner switches it on when thinking ends (Engine.start_grammar)
    )
    checkpoints: tuple[int, ...] = ()
    key: str = ""
    embeddings: Any = None


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    token: int
    logprob: float


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenEvent:
    """One token of one sequence. The end token itself is reported, with `finish` STOP and counts in eval_count."""

    id: int
    token: int
    logprob: float | None = None
    top: tuple[TokenLogprob, ...] = ()
    finish: FinishReason | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PrefillEvent:
    """Prompt progress: `done` of `total` tokens, `cached` of them from the prefix cache."""

    id: int
    done: int
    total: int
    cached: int


@dataclass(frozen=True, kw_only=True, slots=True)
class FinishEvent:
    """A sequence that ended without a new token: aborted, or out of room before its first."""

    id: int
    finish: FinishReason


@dataclass(frozen=True, kw_only=True, slots=True)
class FaultEvent:
    """A sequence that failed alone (grammar, bad token id, no memory); the others go on."""

    id: int
    message: str
    kind: str = "failed"  # as ipc's FaultKind


Event = TokenEvent | PrefillEvent | FinishEvent | FaultEvent


class SequenceStatus(Enum):
    WAITING = "waiting"
    PREFILLING = "prefilling"
    DECODING = "decoding"
    ENDED = "ended"


@dataclass(kw_only=True, eq=False)
class Sequence:
    """A request in the engine.

    `context` is what the cache holds or is to hold next; it is `history` (prompt and reported output)
    until the window was full and the oldest half went. `output`: tokens reported.
    """

    request: Request
    seed: int
    limit: int  # tokens it may give
    context: list[int]
    history: list[int]
    status: SequenceStatus = SequenceStatus.WAITING
    output: int = 0
    cached: int = 0
    grammar_active: bool = False
    cache: Any = None  # kv_cache.RowCache, from admission on
    lease: Any = None  # prefix_cache's hold on it

    @property
    def unfed(self) -> int:
        """Prompt tokens before the last that the cache still lacks; the last goes through decode."""
        return len(self.context) - 1 - self.cache.length

    def append(self, token: int) -> None:
        self.context.append(token)
        self.history.append(token)
        self.output += 1
