"""Anything may be asked of an engine at any time: every request gets its one right ending."""

import random

import pytest

from mlx_ollama.engine.engine import Engine
from mlx_ollama.engine.sequence import (
    Event,
    FaultEvent,
    FinishEvent,
    PrefillEvent,
    Request,
    SamplingParams,
    TokenEvent,
)
from tests.unit.engine.tiny import VOCABULARY, model, request, run


def random_request(generator: random.Random, number: int, known: list[list[int]]) -> Request:
    base = generator.choice(known)
    ids = base[: generator.randrange(len(base) + 1)]
    ids = ids + [generator.randrange(VOCABULARY) for _ in range(generator.randrange(1, 30))]
    sampling = SamplingParams(
        temperature=generator.choice([0.0, 1.0]),
        seed=number,
        repeat_penalty=generator.choice([1.0, 1.2]),
    )
    return request(
        number,
        ids,
        num_ctx=generator.choice([len(ids), len(ids) + 5, 64 + len(ids)]),
        num_keep=generator.choice([-1, 0, 4]),
        shift=generator.random() < 0.7,
        max_tokens=generator.choice([1, 3, 20, 40]),
        sampling=sampling,
        end_tokens=frozenset(generator.sample(range(VOCABULARY), 5)),
        checkpoints=(len(base),),
    )


def endings(events: list[Event]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for event in events:
        if isinstance(event, FinishEvent | FaultEvent) or (
            isinstance(event, TokenEvent) and event.finish
        ):
            counts[event.id] = counts.get(event.id, 0) + 1
    return counts


@pytest.mark.parametrize("name", ["llama", "gemma3_text"])
@pytest.mark.parametrize("seed", range(3))
def test_random_requests_aborts_and_stops(name: str, seed: int) -> None:
    generator = random.Random(seed)
    engine = Engine(model(name), parallel=4, prefix_bytes=generator.choice([0, 200_000, 1 << 30]))
    known: list[list[int]] = [list(range(50))]
    asked: dict[int, Request] = {}
    events: list[Event] = []
    ended_early: set[int] = set()
    stopped: set[int] = set()
    for number in range(40):
        asked[number] = random_request(generator, number, known)
        known.append(asked[number].ids)
        engine.submit(asked[number])
        for _ in range(generator.randrange(6)):
            events += engine.step()
        victim = generator.randrange(number + 1)
        if generator.random() < 0.3:
            was_over = victim in endings(events)
            if generator.random() < 0.5:
                engine.abort(victim)
                ended_early.add(victim)
            elif engine.stop(victim) and not was_over:
                stopped.add(victim)
    while engine.has_work:
        events += engine.step()
    assert {n: endings(events).get(n, 0) for n in asked} == {
        n: int(n not in stopped) for n in asked
    }
    for number, wanted in asked.items():
        got = [e.token for e in events if isinstance(e, TokenEvent) and e.id == number]
        alone = _alone(wanted, name)
        if number in ended_early | stopped:
            assert got == alone[: len(got)]
        else:
            assert got == alone
    assert not any(isinstance(e, FaultEvent) for e in events)
    progress = [e for e in events if isinstance(e, PrefillEvent)]
    assert all(0 <= e.cached <= e.done <= e.total for e in progress)


def _alone(wanted: Request, name: str) -> list[int]:
    engine = Engine(model(name), prefix_bytes=0)
    engine.submit(wanted)
    tokens: list[int] = []
    while engine.has_work:
        tokens += [e.token for e in engine.step() if isinstance(e, TokenEvent)]
    return tokens


def test_a_seed_repeats_a_hundred_times_in_changing_batches() -> None:
    generator = random.Random(9)
    engine = Engine(model(), parallel=6)
    sampling = SamplingParams(seed=42, temperature=1.2)
    wanted = [request(i, [3, 1, 4], sampling=sampling, max_tokens=8) for i in range(100)]
    noise = [random_request(generator, 1000 + i, [[7, 7]]) for i in range(60)]
    everything = wanted + noise
    generator.shuffle(everything)
    engine_tokens = _run_all(engine, everything)
    assert len({tuple(engine_tokens[i]) for i in range(100)}) == 1
    assert engine_tokens[0] == run(Engine(model()), [wanted[0]])[0]


def _run_all(engine: Engine, requests: list[Request]) -> dict[int, list[int]]:
    for wanted in requests:
        engine.submit(wanted)
    tokens: dict[int, list[int]] = {}
    while engine.has_work:
        for event in engine.step():
            if isinstance(event, TokenEvent):
                tokens.setdefault(event.id, []).append(event.token)
    return tokens
