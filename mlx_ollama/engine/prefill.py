"""Prompts on their way into caches: what is cached is borrowed, the rest is fed in chunks.

Invariant: a sequence in `queue` has a lease from its first chunk on, not before, so that a prompt finds
what the prompt in front of it has just computed.
"""

import mlx.core as mx
import mlx.nn as nn

from mlx_ollama.engine import scheduler
from mlx_ollama.engine.kv_cache import RowCache
from mlx_ollama.engine.prefix_cache import PrefixCache
from mlx_ollama.engine.sequence import PrefillEvent, Sequence, SequenceStatus
from mlx_ollama.engine.tables import Tables
from mlx_ollama.engine.vision.steering import Steering, embed

MAX_SNAPSHOTS = 3
"""Message ends of one prompt, the latest, whose rotating and recurrent state is kept."""


class Prefill:
    def __init__(
        self, model: nn.Module, steering: Steering, tables: Tables, prefixes: PrefixCache
    ) -> None:
        self.queue: list[Sequence] = []
        self.prefixes = prefixes
        self._model = model
        self._steering = steering
        self._tables = tables

    def add(self, sequence: Sequence) -> None:
        sequence.status = SequenceStatus.PREFILLING
        self.queue.append(sequence)

    def pending(self) -> list[scheduler.Prefilling]:
        """What is still to be fed, oldest first; an upper bound for those without a lease."""
        if self.queue and self.queue[0].lease is None:
            self._borrow(self.queue[0])
        return [
            scheduler.Prefilling(
                id=s.request.id, tokens=s.unfed if s.lease is not None else len(s.context)
            )
            for s in self.queue
        ]

    def feed(self, sequence: Sequence, tokens: int) -> int:
        """Feed up to `tokens`; it leaves the queue when only its last token is left. Returns what was fed."""
        if sequence.lease is None:
            self._borrow(sequence)
        cache: RowCache = sequence.cache
        begin = cache.length
        end = self._end(sequence, tokens)
        if end > begin:
            self._forward(sequence, begin, end)
        if sequence.unfed == 0:
            self.queue.remove(sequence)
        return end - begin

    def _borrow(self, sequence: Sequence) -> None:
        request = sequence.request
        key = f"{request.key} long" if self._tables.is_long(request.num_ctx) else request.key
        entry = self.prefixes.lend(key, sequence.context)
        if entry is None:
            entry = self.prefixes.adopt(key, RowCache(self._model), sequence.context)
        sequence.lease, sequence.cache = entry, entry.state
        sequence.cached = sequence.cache.length
        sequence.cache.reserve(len(sequence.context))

    def _end(self, sequence: Sequence, tokens: int) -> int:
        """Where a chunk ends: at most at the next position that gets a snapshot, and never within an image
        whose tokens see each other."""
        cache, images = sequence.cache, sequence.request.embeddings
        end = min(cache.length + tokens, len(sequence.context) - 1)
        end = min([p for p in _snapshot_positions(sequence) if cache.length < p < end] + [end])
        return end if images is None else images.whole(cache.length, end)

    def _forward(self, sequence: Sequence, begin: int, end: int) -> None:
        cache, images = sequence.cache, sequence.request.embeddings
        ids = mx.array([sequence.context[begin:end]])
        with self._tables.chosen([sequence.request.num_ctx]):
            if images is None:
                self._model(ids, cache=cache.layers)
            else:
                with self._steering.prefill(images, begin, end):
                    inputs = embed(self._model, ids, images, begin)
                    self._model(ids, cache=cache.layers, input_embeddings=inputs)
        cache.length = end
        mx.eval(cache.arrays())
        if end in _snapshot_positions(sequence):
            self.prefixes.add_snapshot(sequence.lease, end, cache.snapshot())

    def shift(self, sequence: Sequence) -> bool:
        """Make room in a full window: num_keep tokens and the newer half of the rest are prefilled again.

        False when it may not be: by the request, or since a rotating or recurrent cache cannot go back.
        """
        request, cache = sequence.request, sequence.cache
        if not request.shift or not cache.is_plain or request.embeddings is not None:
            return False
        keep = len(request.ids) if request.num_keep < 0 else request.num_keep
        keep = min(keep, request.num_ctx - 4, len(sequence.context) - 2)
        if keep < 0:
            return False
        rest = sequence.context[keep:]
        sequence.context = sequence.context[:keep] + rest[-(-len(rest) // 2) :]
        self.prefixes.truncate(sequence.lease, keep, sequence.context)
        if cache.length > keep:
            cache.trim(keep)
        return True


def _snapshot_positions(sequence: Sequence) -> list[int]:
    """Message ends and the end of the prompt, where a state that cannot be cut is kept."""
    if sequence.cache.is_plain or sequence.output:
        return []
    last = len(sequence.context) - 1
    ends = sorted(p for p in sequence.request.checkpoints if 0 < p < last)
    return [*ends[1 - MAX_SNAPSHOTS :], last]


def progress(sequence: Sequence) -> PrefillEvent:
    done = sequence.cache.length
    return PrefillEvent(
        id=sequence.request.id,
        done=done,
        total=len(sequence.context),
        cached=min(sequence.cached, done),
    )
