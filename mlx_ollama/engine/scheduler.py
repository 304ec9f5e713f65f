"""Pure: who is admitted, who prefills how far and who decodes in one step."""

from collections.abc import Sequence
from dataclasses import dataclass

MIN_CHUNK = 8
MAX_CHUNK = 2048


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """`bytes`: what its cache may come to hold."""

    id: int
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Prefilling:
    id: int
    tokens: int  # still to be fed


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunk:
    id: int
    tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Admission:
    """`refuse` needs more than there would be with nothing else running."""

    admit: tuple[int, ...] = ()
    refuse: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What one step does."""

    prefill: tuple[Chunk, ...] = ()
    decode: tuple[int, ...] = ()


def admit(waiting: Sequence[Waiting], running: int, parallel: int, free_bytes: int) -> Admission:
    """First come, first served: as many from the front as there are rows and bytes for.

    Who stands in front is not overtaken by somebody smaller, or large requests would never run.
    """
    admitted: list[int] = []
    for request in waiting:
        if running + len(admitted) >= parallel:
            break
        if request.bytes > free_bytes:
            if running + len(admitted) == 0:
                return Admission(refuse=(request.id,))
            break
        admitted.append(request.id)
        free_bytes -= request.bytes
    return Admission(admit=tuple(admitted))


def plan(prefilling: Sequence[Prefilling], decoding: Sequence[int], chunk_tokens: int) -> Plan:
    """All rows decode, and the oldest prompt is fed `chunk_tokens`.

    Every prompt costs a pass over the weights, so that only where nobody waits several share the tokens.
    """
    chunks: list[Chunk] = []
    left = chunk_tokens
    for prompt in prefilling[:1] if decoding else prefilling:
        if left <= 0:
            break
        tokens = min(prompt.tokens, left)
        chunks.append(Chunk(id=prompt.id, tokens=tokens))
        left -= max(tokens, 1)
    return Plan(prefill=tuple(chunks), decode=tuple(decoding))


class ChunkSize:
    """Tokens a step may prefill so that streams wait no longer than `target` seconds.

    Follows what chunks have cost: deeper prompts, other models and a busy machine show themselves.
    """

    def __init__(self, target: float) -> None:
        self._target = target
        self._tokens = 64.0

    def tokens(self, *, others_decode: bool) -> int:
        return max(MIN_CHUNK, int(self._tokens)) if others_decode else MAX_CHUNK

    def observe(self, tokens: int, seconds: float) -> None:
        """What `tokens` of prefill cost. A pass has its own price, so that the rest of a prompt, cheap as it
        was, says nothing of larger chunks; and larger ones are tried step by step."""
        if tokens * 2 < self._tokens and seconds <= self._target:
            return
        affordable = tokens * self._target / max(seconds, 1e-6)
        self._tokens = min(max(affordable, self._tokens / 4), self._tokens * 2, float(MAX_CHUNK))
        self._tokens = max(self._tokens, float(MIN_CHUNK))
