"""A row's cache can be cut, copied and joined, and what is stored never changes under a live row."""

from typing import Any

import mlx.core as mx
import pytest

from mlx_ollama.engine.engine import Engine
from mlx_ollama.engine.kv_cache import STEP, RowCache
from mlx_ollama.engine.sequence import PrefillEvent
from tests.unit.engine.tiny import drain, model, request, run

TOKENS = [(n * 37) % 300 for n in range(200)]


def fed(name: str, tokens: list[int]) -> RowCache:
    cache = RowCache(model(name).model)
    feed(name, cache, tokens)
    return cache


def feed(name: str, cache: RowCache, tokens: list[int]) -> mx.array:
    logits = model(name).model(mx.array([tokens]), cache=cache.layers)[0, -1]
    cache.length += len(tokens)
    mx.eval(logits, cache.arrays())
    return logits


def test_cut_and_extend_give_the_same_state() -> None:
    whole = fed("llama", TOKENS)
    expected = feed("llama", fed("llama", TOKENS), [7])
    rest = whole.cut(120)
    assert whole.length == 120
    whole.extend(rest, 80)
    assert mx.allclose(feed("llama", whole, [7]), expected, atol=1e-4)


def test_segment_without_its_beginning() -> None:
    whole = fed("llama", TOKENS)
    rest = whole.cut(100)
    feed("llama", whole, TOKENS[100:130])
    whole.extend(rest.after(30), 70)
    expected = feed("llama", fed("llama", TOKENS), [7])
    assert mx.allclose(feed("llama", whole, [7]), expected, atol=1e-4)


@pytest.mark.parametrize("name", ["gemma3_text", "gpt_oss"])
def test_snapshot_brings_rotating_layers_back(name: str) -> None:
    cache = fed(name, TOKENS[:100])
    expected = feed(name, fed(name, TOKENS[:100]), [7])
    snapshot = cache.snapshot()
    feed(name, cache, TOKENS[100:])
    for token in (1, 2, 3):
        feed(name, cache, [token])
    for _ in range(2):  # a snapshot serves more than once
        cache.trim(100)
        cache.restore(snapshot)
        assert mx.allclose(feed(name, cache, [7]), expected, atol=1e-4)
        feed(name, cache, [9])


def test_a_copy_and_its_source_go_separate_ways() -> None:
    source = fed("llama", TOKENS)
    copy = source.copy(150)
    expected = feed("llama", fed("llama", TOKENS[:150]), [7])
    feed("llama", source, [1, 2, 3])
    source.trim(100)
    feed("llama", source, [9] * 60)
    assert mx.allclose(feed("llama", copy, [7]), expected, atol=1e-4)


def test_what_is_stored_shares_no_array_with_a_live_row() -> None:
    """`array[..., a:b] = x` changes the Python object, and everything that holds it."""
    cache = fed("llama", TOKENS)
    segment = cache.cut(120)
    before = [mx.array(k) for k, _ in segment.pairs]
    feed("llama", cache, [5] * 60)
    held = {id(a) for a in cache.arrays()}
    assert not held & {id(a) for pair in segment.pairs for a in pair}
    assert all(mx.array_equal(a, k) for a, (k, _) in zip(before, segment.pairs, strict=True))


def test_reserved_prompt_is_not_copied_from_chunk_to_chunk() -> None:
    cache = RowCache(model().model)
    cache.reserve(len(TOKENS))
    for start in range(0, 200, 50):
        feed("llama", cache, TOKENS[start : start + 50])
    layer: Any = cache.layers[0]
    assert layer.keys.shape[2] == -(-200 // STEP) * STEP


def test_bytes_for_says_what_a_row_will_hold() -> None:
    for name in ("llama", "gemma3_text"):
        cache = RowCache(model(name).model)
        cache.reserve(len(TOKENS))
        feed(name, cache, TOKENS)
        feed(name, cache, [1])
        assert cache.nbytes <= fed(name, [1]).bytes_for(201) * 1.3


def test_the_ordinary_next_turn_moves_the_buffer_and_copies_nothing() -> None:
    engine = Engine(model())
    answer = run(engine, [request(0, TOKENS, num_ctx=2048)])[0]
    (entry,) = engine._prefill.prefixes._entries  # pyright: ignore[reportPrivateUsage]
    state: Any = entry.state
    mx.clear_cache()
    before = mx.get_active_memory()
    engine.submit(request(1, [*TOKENS, *answer, 1, 2, 3], num_ctx=2048))
    events = drain(engine)
    assert next(e.cached for e in events if isinstance(e, PrefillEvent)) == len(TOKENS) + 11
    (after,) = engine._prefill.prefixes._entries  # pyright: ignore[reportPrivateUsage]
    assert after.state is state
    a_token = 2 * 2 * 2 * 8 * 4
    assert mx.get_active_memory() - before <= 2 * STEP * a_token
