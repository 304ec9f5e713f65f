"""Pure: which token prefixes have a KV cache, who holds it, and what is given up first.

Ownership. An entry is a path of tokens from the beginning. A *root* entry holds a whole buffer; the store
lends it to one row, exclusively and without a copy, and takes it back when the row ends. A *branch* entry
holds only what comes after `base`, where it leaves its parent's path, so nothing is stored twice.
Only when a root is lent already does a second user get a copy; or where the shared beginning is the smaller part.

Invariants: a branch's first `base` tokens are its parent's first `base` tokens, also while the parent is lent
(a row appends, and never rewrites what a branch stands on). A state that cannot be cut anywhere
(rotating, recurrent) is only lent at a position that has a snapshot.
"""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

MIN_SHARED = 16
"""Tokens below which a prefix, or the rest of a cut one, is not worth keeping."""


class Segment(Protocol):
    """A stretch of KV cache between two positions."""

    @property
    def nbytes(self) -> int: ...

    def after(self, skip: int) -> "Segment":
        """A copy without the first `skip` tokens."""
        ...


class State(Protocol):
    """A row's cache, as far as the store moves it about (kv_cache.RowCache)."""

    length: int

    @property
    def nbytes(self) -> int: ...
    @property
    def is_plain(self) -> bool: ...
    def copy(self, length: int) -> "State":
        """An independent state of the first `length` tokens."""
        ...

    def cut(self, length: int) -> Segment:
        """Keep `length` tokens; a copy of the rest."""
        ...

    def trim(self, length: int) -> None:
        """Keep `length` tokens."""
        ...

    def extend(self, segment: Segment, tokens: int) -> None:
        """Append a segment's first `tokens`."""
        ...

    def take_snapshot(self) -> Any:
        """What the layers that cannot be cut hold now (without a copy: they are about to be restored)."""
        ...

    def restore(self, snapshot: Any) -> None:
        """Put a copy of a snapshot into those layers."""
        ...


@dataclass(eq=False, kw_only=True)
class Entry:
    """`live` is the context of the row that holds a lent root; its path is then `live[:state.length]`.

    `nbytes` is what it held when it was last weighed; a lent root's own state is its row's.
    """

    key: str
    tokens: bytes
    base: int = 0
    parent: "Entry | None" = None
    children: "list[Entry]" = field(default_factory=list)
    state: State | None = None
    segment: Segment | None = None
    snapshots: dict[int, Any] = field(default_factory=dict)
    live: Sequence[int] | None = None
    used: int = 0
    nbytes: int = 0

    @property
    def path(self) -> bytes:
        if self.live is None or self.state is None:
            return self.tokens
        return as_bytes(self.live[: self.state.length])

    @property
    def length(self) -> int:
        return len(self.path) // 4

    def weigh(self) -> None:
        held = self.state or self.segment
        own = 0 if held is None or self.live is not None else held.nbytes
        self.nbytes = own + sum(snapshot.nbytes for snapshot in self.snapshots.values())


def as_bytes(ids: Iterable[int]) -> bytes:
    return array("i", ids).tobytes()


def overlap(left: bytes, right: bytes) -> int:
    """How many tokens two paths have in common at their beginning."""
    low, high = 0, min(len(left), len(right)) // 4
    a, b = memoryview(left), memoryview(right)
    while low < high:
        middle = (low + high + 1) // 2
        if a[low * 4 : middle * 4] == b[low * 4 : middle * 4]:
            low = middle
        else:
            high = middle - 1
    return low


class PrefixCache:
    """`budget`: bytes of what is not lent."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._entries: list[Entry] = []
        self._clock = 0

    @property
    def nbytes(self) -> int:
        return sum(entry.nbytes for entry in self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    # ---- lending

    def lend(self, key: str, context: Sequence[int]) -> Entry | None:
        """The longest stored beginning of a row's `context`, short of its last token, in a state that is
        the row's until `give_back`; None when there is none worth it."""
        found, shared = self._find(key, as_bytes(context[:-1]))
        if found is None:
            return None
        chain = _chain(found)
        shared = _position(chain, shared)
        if shared < MIN_SHARED:
            return None
        chain = [entry for entry in chain if entry.base < shared]
        self._touch(chain)
        if chain[0].live is not None or _moved(chain, shared) > shared:
            return self._lend_copy(chain, shared, context)
        self._lend_root(chain, shared)
        chain[0].live = context
        chain[0].weigh()
        return chain[0]

    def adopt(self, key: str, state: State, context: Sequence[int]) -> Entry:
        """A new root for a row, with what its state holds already."""
        entry = Entry(key=key, tokens=b"", state=state, live=context)
        self._entries.append(entry)
        self._touch([entry])
        return entry

    def _find(self, key: str, wanted: bytes) -> tuple[Entry | None, int]:
        """The entry whose own part the longest match ends in, and its length in tokens."""
        best: Entry | None = None
        length, beginning = 0, MIN_SHARED * 4
        for entry in self._entries:
            path = entry.path
            if entry.key != key or path[:beginning] != wanted[:beginning]:
                continue
            shared = overlap(path, wanted)
            if shared > length and shared > entry.base:
                best, length = entry, shared
        return best, length

    def _lend_copy(self, chain: list[Entry], shared: int, context: Sequence[int]) -> Entry | None:
        root = chain[0]
        if root.state is None:
            return None
        state = root.state.copy(min(shared, _end_on(chain, root)))
        for branch in chain[1:]:
            if branch.segment is not None:
                state.extend(branch.segment, min(shared, _end_on(chain, branch)) - branch.base)
        snapshot = _snapshot(chain, shared)
        if snapshot is not None:
            state.restore(snapshot)
        return self.adopt(root.key, state, context)

    def _lend_root(self, chain: list[Entry], shared: int) -> None:
        """Bring the root's buffer onto the wanted path, and cut it where the path is left."""
        root, snapshot = chain[0], _snapshot(chain, shared)
        if len(chain) == 1 and root.length == shared:
            return  # its own end: the ordinary next turn
        if root.state is not None and not root.state.is_plain:
            root.snapshots[root.length] = root.state.take_snapshot()
        for branch in chain[1:]:
            self._cut(root, branch.base)
            self._absorb(root, branch)
        self._cut(root, shared)
        if snapshot is not None and root.state is not None:
            root.state.restore(snapshot)

    def _cut(self, root: Entry, at: int) -> None:
        """Keep `at` tokens in the root; the rest becomes a branch when it is worth it or others stand on it."""
        state, rest = root.state, root.length - at
        if state is None or rest <= 0:
            return
        standing = [child for child in root.children if child.base > at]
        later = {p: s for p, s in root.snapshots.items() if p > at}
        if rest < MIN_SHARED and not standing:
            state.trim(at)
        else:
            branch = Entry(key=root.key, tokens=root.tokens, base=at, parent=root, snapshots=later)
            branch.segment, branch.used = state.cut(at), root.used
            branch.children = standing
            for child in standing:
                child.parent = branch
            root.children = [c for c in root.children if c not in standing] + [branch]
            self._entries.append(branch)
            branch.weigh()
        for position in later:
            root.snapshots.pop(position, None)
        root.tokens = root.tokens[: at * 4]

    def _absorb(self, root: Entry, branch: Entry) -> None:
        """A branch at the root's very end becomes part of it."""
        if root.state is None or branch.segment is None:
            return
        root.state.extend(branch.segment, branch.length - branch.base)
        root.tokens = branch.tokens
        root.snapshots.update(branch.snapshots)
        self._drop(branch)
        for child in branch.children:
            child.parent = root
        root.children.extend(branch.children)

    # ---- taking back

    def give_back(self, entry: Entry) -> None:
        """A row has ended: what its cache holds is stored, without what is stored elsewhere."""
        entry.tokens, entry.live = entry.path, None
        self._touch([entry])
        if entry.length < MIN_SHARED and not entry.children:
            self._drop(entry)
        else:
            self._merge_children(entry)
            self._graft(entry)
            entry.weigh()
        self.shrink(self.budget)

    def add_snapshot(self, entry: Entry, position: int, snapshot: Any) -> None:
        """Remember a lent row's state at `position`, a message's end."""
        entry.snapshots[position] = snapshot
        entry.weigh()

    def truncate(self, entry: Entry, length: int, context: Sequence[int]) -> None:
        """A lent row goes on from its first `length` tokens with another `context`: nobody may stand on
        what comes after."""
        for child in [child for child in entry.children if child.base > length]:
            self._drop_tree(child)
        entry.snapshots = {p: s for p, s in entry.snapshots.items() if p <= length}
        entry.live = context

    def discard(self, entry: Entry) -> None:
        """A row has failed: neither its cache nor what stands on it is to be used again."""
        self._drop_tree(entry)

    def _merge_children(self, root: Entry) -> None:
        """Branches that the row has walked along again keep only what differs."""
        for child in list(root.children):
            shared = overlap(child.tokens, root.tokens)
            if shared == child.length:
                self._drop(child)
                for grandchild in child.children:
                    grandchild.parent = root
                root.children.extend(child.children)
                root.snapshots.update(child.snapshots)
            elif child.segment is not None and shared > child.base and _is_free(child, shared):
                child.segment = child.segment.after(shared - child.base)
                child.base = shared
                for position in [p for p in child.snapshots if p <= shared]:
                    root.snapshots[position] = child.snapshots.pop(position)
                child.weigh()

    def _graft(self, entry: Entry) -> None:
        """A root that began as a copy becomes a branch of the path that it shares."""
        if entry.children or entry.state is None:
            return
        others = [e for e in self._entries if e is not entry and e.key == entry.key]
        shared, parent = max(
            ((overlap(e.path, entry.tokens), e) for e in others),
            key=lambda pair: pair[0],
            default=(0, None),
        )
        if parent is None or shared < MIN_SHARED:
            return
        chain = _chain(parent)
        parent = next(e for e in chain if e.base < shared <= _end_on(chain, e))
        if entry.length - shared < MIN_SHARED:
            self._drop(entry)
            return
        if not entry.state.is_plain:
            entry.snapshots[entry.length] = entry.state.take_snapshot()
        entry.segment, entry.state = entry.state.cut(shared), None
        entry.base, entry.parent = shared, parent
        entry.snapshots = {p: s for p, s in entry.snapshots.items() if p > shared}
        parent.children.append(entry)

    # ---- giving up

    def shrink(self, budget: int) -> int:
        """Drop what was used longest ago until `budget` bytes are left; returns the bytes given up."""
        before = total = self.nbytes
        while total > budget:
            leaves = [e for e in self._entries if e.live is None and not e.children]
            if not leaves:
                break
            oldest = min(leaves, key=lambda e: e.used)
            self._drop(oldest)
            total = self.nbytes
        return before - total

    def _drop(self, entry: Entry) -> None:
        self._entries.remove(entry)
        if entry.parent is not None:
            entry.parent.children.remove(entry)

    def _drop_tree(self, entry: Entry) -> None:
        for child in list(entry.children):
            self._drop_tree(child)
        self._drop(entry)

    def _touch(self, entries: Iterable[Entry]) -> None:
        self._clock += 1
        for entry in entries:
            entry.used = self._clock


def _chain(entry: Entry) -> list[Entry]:
    """From the root to the entry."""
    chain = [entry]
    while chain[0].parent is not None:
        chain.insert(0, chain[0].parent)
    return chain


def _end_on(chain: list[Entry], entry: Entry) -> int:
    """How far an entry's own path is the chain's: up to where the next branch leaves it."""
    index = chain.index(entry) + 1
    return chain[index].base if index < len(chain) else entry.length


def _moved(chain: list[Entry], shared: int) -> int:
    """Tokens to be copied for the root's buffer to end on the wanted path: what it has beyond, and branches.

    The beginning is copied instead where that is less; the root would keep room for what it gave away.
    """
    root = chain[0]
    leaves = chain[1].base if len(chain) > 1 else shared
    return root.length - leaves + shared - leaves


def _is_free(entry: Entry, until: int) -> bool:
    """Whether no branch leaves an entry before `until`."""
    return all(child.base >= until for child in entry.children)


def _snapshot(chain: list[Entry], position: int) -> Any:
    for entry in reversed(chain):
        if position in entry.snapshots and position <= _end_on(chain, entry):
            return entry.snapshots[position]
    return None


def _position(chain: list[Entry], shared: int) -> int:
    """Where within `shared` tokens a state can be had."""
    root = chain[0]
    if root.state is None or root.state.is_plain:
        return shared
    at = [p for e in chain for p in e.snapshots if p <= min(shared, _end_on(chain, e))]
    if len(chain) == 1 and root.live is None and root.length <= shared:
        at.append(root.length)
    return max(at, default=0)
