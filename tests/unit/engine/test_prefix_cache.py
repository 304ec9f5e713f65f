"""Whatever is lent holds exactly the tokens it claims, through cuts, branches, copies and evictions."""

import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from mlx_ollama.engine.prefix_cache import MIN_SHARED, Entry, PrefixCache, as_bytes, overlap

BYTES_A_TOKEN = 100


@dataclass
class FakeSegment:
    tokens: list[int]

    @property
    def nbytes(self) -> int:
        return BYTES_A_TOKEN * len(self.tokens)

    def after(self, skip: int) -> "FakeSegment":
        return FakeSegment(self.tokens[skip:])


@dataclass
class FakeSnapshot:
    seen: tuple[int, ...]
    nbytes: int = 500


@dataclass
class FakeState:
    """A cache whose plain layers are the tokens themselves, and whose other layers know all that was fed."""

    is_plain: bool
    tokens: list[int] = field(default_factory=list)
    seen: tuple[int, ...] = ()
    copies: int = 0

    @property
    def length(self) -> int:
        return len(self.tokens)

    @property
    def nbytes(self) -> int:
        return BYTES_A_TOKEN * len(self.tokens)

    def feed(self, tokens: list[int]) -> None:
        self.tokens = self.tokens + tokens
        self.seen = self.seen + tuple(tokens)

    def copy(self, length: int) -> "FakeState":
        return FakeState(self.is_plain, self.tokens[:length], copies=self.copies + 1)

    def cut(self, length: int) -> FakeSegment:
        rest = FakeSegment(self.tokens[length:])
        self.trim(length)
        return rest

    def trim(self, length: int) -> None:
        self.tokens = self.tokens[:length]
        if self.is_plain:
            self.seen = tuple(self.tokens)

    def extend(self, segment: FakeSegment, tokens: int) -> None:
        self.tokens = self.tokens + segment.tokens[:tokens]
        if self.is_plain:
            self.seen = tuple(self.tokens)

    def take_snapshot(self) -> FakeSnapshot:
        return FakeSnapshot(self.seen)

    def restore(self, snapshot: FakeSnapshot) -> None:
        self.seen = snapshot.seen


class Rows:
    """Plays the engine: borrow, prefill with snapshots, decode, give back."""

    def __init__(self, plain: bool, budget: int = 1 << 30) -> None:
        self.plain = plain
        self.cache = PrefixCache(budget)
        self.running: list[tuple[Entry, list[int]]] = []

    def start(self, prompt: list[int], key: str = "") -> int:
        """The number of tokens that were cached."""
        context = list(prompt)
        entry = self.cache.lend(key, context)
        if entry is None:
            state: Any = FakeState(self.plain)
            entry = self.cache.adopt(key, state, context)
        state = self.state(entry)
        cached = state.length
        assert cached < len(prompt)
        assert state.tokens == context[:cached]
        if not self.plain or cached == 0:
            assert state.seen == tuple(context[:cached])
        state.feed(context[cached:-1])
        if not self.plain:
            self.cache.add_snapshot(entry, state.length, FakeSnapshot(state.seen))
        self.running.append((entry, context))
        return cached

    def decode(self, index: int, tokens: list[int]) -> None:
        entry, context = self.running[index]
        for token in tokens:
            self.state(entry).feed([context[-1]])
            context.append(token)

    def finish(self, index: int) -> None:
        entry, context = self.running.pop(index)
        state = self.state(entry)
        if state.length < len(context):
            state.feed([context[-1]])
        self.cache.give_back(entry)

    def state(self, entry: Entry) -> Any:
        return entry.state

    def serve(self, prompt: list[int], answer: list[int], key: str = "") -> int:
        cached = self.start(prompt, key)
        self.decode(len(self.running) - 1, answer)
        self.finish(len(self.running) - 1)
        return cached


def tokens(seed: int, count: int) -> list[int]:
    generator = random.Random(seed)
    return [generator.randrange(1000) for _ in range(count)]


def test_overlap_counts_whole_tokens() -> None:
    assert overlap(as_bytes([1, 2, 3]), as_bytes([1, 2, 4, 5])) == 2
    assert overlap(as_bytes([256]), as_bytes([0])) == 0
    assert overlap(b"", as_bytes([1])) == 0


@pytest.mark.parametrize("plain", [True, False])
def test_next_turn_finds_everything_and_moves_the_buffer(plain: bool) -> None:
    rows = Rows(plain)
    prompt, answer = tokens(1, 100), tokens(2, 30)
    rows.serve(prompt, answer)
    assert rows.serve(prompt + answer + tokens(3, 20), tokens(4, 5)) == 130
    (entry,) = rows.cache._entries  # pyright: ignore[reportPrivateUsage]
    assert rows.state(entry).copies == 0


@pytest.mark.parametrize("plain", [True, False])
def test_same_prompt_again_lacks_only_its_last_token(plain: bool) -> None:
    rows = Rows(plain)
    prompt = tokens(1, 100)
    rows.serve(prompt, tokens(2, 30))
    assert rows.serve(prompt, tokens(3, 30)) == 99


def test_branches_stay_alive_and_share_what_they_have_in_common() -> None:
    rows = Rows(plain=True)
    system = tokens(0, 500)
    questions = [system + tokens(i, 40) for i in range(1, 6)]
    for question in questions:
        rows.serve(question, tokens(99, 20))
    for question in questions:
        assert rows.serve(question, tokens(99, 20)) == len(question) - 1
    distinct = 500 + 5 * 61
    assert rows.cache.nbytes <= distinct * BYTES_A_TOKEN * 1.05


def test_second_user_of_a_lent_prefix_gets_a_copy() -> None:
    rows = Rows(plain=True)
    system = tokens(0, 200)
    rows.serve(system + tokens(1, 30), tokens(2, 10))
    assert rows.start(system + tokens(3, 30)) == 200
    assert rows.start(system + tokens(4, 30)) == 200
    (first, _), (second, _) = rows.running
    assert rows.state(first).copies == 0
    assert rows.state(second).copies == 1
    rows.finish(1)
    rows.finish(0)
    assert rows.cache.nbytes < (200 + 30 * 3 + 20) * BYTES_A_TOKEN * 1.05


def test_a_short_beginning_is_copied_and_the_long_entry_stays_whole() -> None:
    rows = Rows(plain=True)
    system = tokens(0, 50)
    long = system + tokens(1, 900)
    rows.serve(long, tokens(2, 10))
    assert rows.start(system + tokens(3, 30)) == 50
    ((entry, _),) = rows.running
    assert rows.state(entry).copies == 1
    rows.finish(0)
    assert rows.cache.nbytes <= (960 + 30) * BYTES_A_TOKEN
    assert rows.serve(long, [1]) == len(long) - 1


def test_keys_keep_prefixes_apart() -> None:
    rows = Rows(plain=True)
    prompt = tokens(1, 100)
    rows.serve(prompt, tokens(2, 10), key="adapter")
    assert rows.serve(prompt, tokens(2, 10)) == 0


def test_budget_drops_what_was_used_longest_ago() -> None:
    rows = Rows(plain=True, budget=250 * BYTES_A_TOKEN)
    prompts = [tokens(i, 100) for i in range(3)]
    for prompt in prompts:
        rows.serve(prompt, tokens(9, 10))
    assert rows.cache.nbytes <= 250 * BYTES_A_TOKEN
    assert rows.serve(prompts[2], tokens(9, 1)) == 99
    assert rows.serve(prompts[0], tokens(9, 1)) == 0


def test_short_prefixes_are_not_worth_it() -> None:
    rows = Rows(plain=True)
    rows.serve(tokens(1, MIN_SHARED - 2), [1])
    assert rows.serve(tokens(1, MIN_SHARED - 2) + tokens(2, 50), [1]) == 0


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("seed", range(20))
def test_random_conversations_never_get_a_wrong_cache(plain: bool, seed: int) -> None:
    """Small alphabets make every kind of partial overlap; Rows.start checks what is lent."""
    generator = random.Random(seed)
    budget = generator.choice([4_000, 30_000, 1 << 30])
    rows = Rows(plain, budget)
    told: list[list[int]] = [[]]
    hits = 0
    for _ in range(150):
        if rows.running and generator.random() < 0.45:
            index = generator.randrange(len(rows.running))
            told.append(rows.running[index][1])
            rows.finish(index)
        else:
            base = generator.choice(told)
            base = base[: generator.randrange(len(base) + 1)]
            new = [generator.randrange(2) for _ in range(generator.randrange(1, 60))]
            hits += rows.start(base + new) > 0
            rows.decode(-1, [generator.randrange(2) for _ in range(generator.randrange(40))])
        check_weights(rows.cache)
    assert hits > 0 or budget < 1 << 30


def check_weights(cache: PrefixCache) -> None:
    """What was last weighed is still so."""
    weighed = cache.nbytes
    for entry in cache._entries:  # pyright: ignore[reportPrivateUsage]
        entry.weigh()
    assert weighed == cache.nbytes
