"""Draws follow the exact distribution, and a row's draw depends on nothing but itself."""

import math
import random
from collections import Counter

import mlx.core as mx
import pytest

from mlx_ollama.engine.logits import (
    Penalties,
    apply_mask,
    log_probabilities,
    most_likely,
    soundness,
)
from mlx_ollama.engine.sampler import Sampler, uniform
from mlx_ollama.engine.sequence import SamplingParams

VOCABULARY = 200
DRAWS = 20_000


def logits(seed: int, rows: int = 1, size: int = VOCABULARY) -> mx.array:
    return mx.random.normal((rows, size), key=mx.random.key(seed)) * 2


def exact(scores: list[float], params: SamplingParams) -> dict[int, float]:
    """The distribution by definition, step by step as llama.cpp has it."""
    kept = sorted(range(len(scores)), key=lambda i: -scores[i])
    if params.top_k > 0:
        kept = kept[: params.top_k]
    if params.typical_p < 1:
        kept = _typical(kept, scores, params.typical_p)
    if params.top_p < 1:
        probabilities, total = _softmax(kept, scores), 0.0
        for count, i in enumerate(kept, 1):
            total += probabilities[i]
            if total >= params.top_p:
                kept = kept[:count]
                break
    best = max(scores[i] for i in kept)
    if params.min_p > 0:
        kept = [i for i in kept if scores[i] >= best + math.log(params.min_p)]
    if params.temperature <= 0:
        return {kept[0]: 1.0}
    return _softmax(kept, [s / params.temperature for s in scores])


def _softmax(kept: list[int], scores: list[float]) -> dict[int, float]:
    best = max(scores[i] for i in kept)
    weights = {i: math.exp(scores[i] - best) for i in kept}
    total = sum(weights.values())
    return {i: w / total for i, w in weights.items()}


def _typical(kept: list[int], scores: list[float], typical_p: float) -> list[int]:
    p = _softmax(kept, scores)
    entropy = -sum(v * math.log(v) for v in p.values() if v > 0)
    total, chosen = 0.0, list[int]()
    for i in sorted(kept, key=lambda i: abs(-math.log(p[i]) - entropy)):
        chosen.append(i)
        total += p[i]
        if total > typical_p:
            break
    return sorted(chosen, key=lambda i: -scores[i])


def draw(scores: mx.array, params: SamplingParams, count: int = DRAWS) -> Counter[int]:
    """`count` draws of one row, many rows at a time, each of its own seed and position."""
    many, found = 2000, Counter[int]()
    sampler = Sampler([params] * many, scores.shape[-1])
    repeated = mx.repeat(scores, many, axis=0)
    for start in range(0, count, many):
        numbers = [uniform(n % 7, n) for n in range(start, start + many)]
        found.update(sampler.sample(repeated, numbers).tolist())  # type: ignore[arg-type]
    return found


def chi_square(found: Counter[int], expected: dict[int, float]) -> tuple[float, int]:
    """The statistic over bins of at least five expected draws, and its degrees of freedom."""
    total = found.total()
    assert set(found) <= set(expected)
    bins, rest_found, rest_expected = [], 0, 0.0
    for token, probability in expected.items():
        if probability * total >= 5:
            bins.append((found[token], probability * total))
        else:
            rest_found += found[token]
            rest_expected += probability * total
    if rest_expected >= 5:
        bins.append((rest_found, rest_expected))
    return sum((f - e) ** 2 / e for f, e in bins), len(bins) - 1


@pytest.mark.parametrize("top_k", [0, 10, 100])
@pytest.mark.parametrize(
    ("typical_p", "top_p", "min_p", "temperature"),
    [
        (1.0, 1.0, 0.0, 1.0),
        (1.0, 0.9, 0.0, 0.8),
        (1.0, 1.0, 0.1, 1.5),
        (0.5, 1.0, 0.0, 1.0),
        (0.8, 0.7, 0.05, 0.6),
        (1.0, 0.0, 0.0, 1.0),
        (0.3, 0.9, 0.0, 0.0),
    ],
)
def test_draws_follow_the_exact_distribution(
    top_k: int, typical_p: float, top_p: float, min_p: float, temperature: float
) -> None:
    params = SamplingParams(
        top_k=top_k, typical_p=typical_p, top_p=top_p, min_p=min_p, temperature=temperature
    )
    scores = logits(top_k)
    expected = exact(scores[0].tolist(), params)  # type: ignore[arg-type]
    statistic, freedom = chi_square(draw(scores, params), expected)
    # Six standard deviations above the mean: once in many millions of runs by chance.
    assert statistic <= freedom + 6 * math.sqrt(2 * freedom + 1)


def test_numbers_are_even_and_repeat() -> None:
    numbers = [uniform(seed, position) for seed in range(50) for position in range(400)]
    assert numbers == [uniform(seed, position) for seed in range(50) for position in range(400)]
    counts = Counter(int(n * 64) for n in numbers)
    statistic = sum((counts[i] - len(numbers) / 64) ** 2 / (len(numbers) / 64) for i in range(64))
    assert statistic < 63 + 6 * math.sqrt(2 * 63)
    assert all(0 <= n < 1 for n in numbers)
    assert uniform(-1, 0) != uniform(1, 0)


@pytest.mark.parametrize("size", [50, 200, 3000])
def test_a_rows_draw_is_the_same_beside_any_others(size: int) -> None:
    generator = random.Random(size)
    scores = logits(1, 8, size)
    params = [
        SamplingParams(
            temperature=generator.choice([0.0, 0.5, 1.0]),
            top_k=generator.choice([0, 3, 64, 65, 1024]),
            top_p=generator.choice([0.5, 1.0]),
            typical_p=generator.choice([0.6, 1.0]),
        )
        for _ in range(8)
    ]
    numbers = [uniform(i, 3) for i in range(8)]
    together = Sampler(params, size).sample(scores, numbers).tolist()
    apart = [
        Sampler([params[i]], size).sample(scores[i : i + 1], [numbers[i]]).item() for i in range(8)
    ]
    assert together == apart


def test_penalties_are_llama_cpps() -> None:
    params = SamplingParams(repeat_penalty=2.0, presence_penalty=0.5, frequency_penalty=0.25)
    scores = mx.array([[2.0, -2.0, 1.0, 3.0]])
    window = mx.array([[-1, 0, 0, 1]])
    changed = Penalties.of([params]).apply(scores, window)
    assert changed.tolist() == [[2.0 / 2 - 0.5 - 0.5, -2.0 * 2 - 0.25 - 0.5, 1.0, 3.0]]


def test_rows_without_penalties_are_left_exactly() -> None:
    scores = logits(3, 2)
    params = [
        SamplingParams(repeat_penalty=1.5),
        SamplingParams(repeat_penalty=1.5, repeat_last_n=0),
    ]
    window = mx.array([[1, 2], [1, 2]])
    changed = Penalties.of(params).apply(scores, window)
    assert mx.array_equal(changed[1], scores[1])
    assert not mx.array_equal(changed[0], scores[0])


def test_mask_leaves_what_it_names() -> None:
    scores = logits(4, 2, 70)
    mask = mx.array([[1 << 3, 0, 1 << 5], [0xFFFFFFFF] * 3], dtype=mx.uint32)
    masked = apply_mask(scores, mask)
    assert [i for i, v in enumerate(masked[0].tolist()) if v > -math.inf] == [3, 69]  # type: ignore[operator]
    assert mx.array_equal(masked[1], scores[1])


def test_log_probabilities_are_of_the_whole_vocabulary() -> None:
    scores = logits(5)
    ids, values = most_likely(scores, 5)
    wanted = (scores - mx.logsumexp(scores))[0]
    assert mx.allclose(values[0], wanted[ids[0]], atol=1e-5)
    assert values[0, 0].item() == wanted.max().item()
    assert mx.allclose(log_probabilities(scores, ids[:, 2]), values[:, 2], atol=1e-5)


@pytest.mark.parametrize("row", [[0.0, 0.0, 0.0], [1.0, math.nan, 0.0], [math.inf, 0.0, 1.0]])
def test_unsound_rows_are_seen(row: list[float]) -> None:
    sound = soundness(mx.array([row, [1.0, 2.0, -math.inf]])) > 0
    assert sound.tolist() == [False, True]
