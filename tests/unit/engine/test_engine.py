"""An engine gives each request what it would get alone, and ends it when and how it should."""

import random
import subprocess
import sys
from dataclasses import replace

import pytest

from mlx_ollama.engine.engine import Engine
from mlx_ollama.engine.prefix_cache import as_bytes
from mlx_ollama.engine.sequence import (
    Event,
    FaultEvent,
    FinishEvent,
    FinishReason,
    PrefillEvent,
    Request,
    SamplingParams,
    TokenEvent,
)
from tests.unit.engine.tiny import (
    CONFIGS,
    PLAIN,
    VOCABULARY,
    drain,
    model,
    request,
    run,
    tokens_of,
)


def prompts(seed: int, count: int, longest: int = 60) -> list[list[int]]:
    generator = random.Random(seed)
    return [
        [generator.randrange(VOCABULARY) for _ in range(generator.randrange(1, longest))]
        for _ in range(count)
    ]


def alone(wanted: Request, name: str = "llama") -> list[int]:
    return run(Engine(model(name)), [wanted])[wanted.id]


def test_runner_libraries_stay_out() -> None:
    code = "import mlx_ollama.engine.engine, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "mlx_lm.models.cache" in loaded
    assert not {"transformers", "mlx_lm.utils", "mlx_lm.generate", "tokenizers"} & set(loaded)


@pytest.mark.parametrize("name", CONFIGS)
def test_greedy_is_the_same_alone_and_in_any_batch(name: str) -> None:
    assert model(name).batchable
    requests = [request(i, ids) for i, ids in enumerate(prompts(1, 7))]
    single = run(Engine(model(name)), requests)
    assert run(Engine(model(name), parallel=7), requests) == single
    assert run(Engine(model(name), parallel=3), requests, every=2) == single
    assert len({token for tokens in single.values() for token in tokens}) > 7


@pytest.mark.parametrize("name", CONFIGS)
def test_greedy_is_the_same_cold_and_from_cache(name: str) -> None:
    generator = random.Random(2)
    engine = Engine(model(name), parallel=3)
    known = prompts(3, 1, longest=80)
    cached = 0
    for turn in range(6):
        requests: list[Request] = []
        for i in range(3):
            base = generator.choice(known)
            ids = base[: generator.randrange(1, len(base) + 1)] + prompts(turn * 3 + i, 1)[0]
            requests.append(request(i, ids, checkpoints=(len(base),)))
        for wanted in requests:
            engine.submit(wanted)
        events = drain(engine)
        cached += sum(e.cached for e in events if isinstance(e, PrefillEvent))
        answers = tokens_of(events)
        for wanted in requests:
            assert answers[wanted.id] == alone(wanted, name)
            known.append(wanted.ids + answers[wanted.id])
    assert cached > 0


def test_long_prompt_in_chunks_gives_the_same() -> None:
    (ids,) = prompts(4, 1, longest=2)
    long = request(1, ids * 700, num_ctx=4096)
    engine = Engine(model(), parallel=2, target_gap=0.0)
    engine.submit(request(0, [5, 6, 7], max_tokens=200))
    engine.step()
    engine.submit(long)
    events = drain(engine)
    assert len([e for e in events if isinstance(e, PrefillEvent) and e.id == 1]) > 20
    assert tokens_of(events)[1] == alone(long)


def test_seed_gives_one_text_whatever_runs_beside_it() -> None:
    wanted = request(0, [1, 2, 3, 4], sampling=SamplingParams(seed=11, temperature=1.5))
    first = alone(wanted)
    for round_ in range(3):
        others = [
            request(i + 1, ids, sampling=SamplingParams(top_k=i * 40, typical_p=0.5 + i / 10))
            for i, ids in enumerate(prompts(round_, 4))
        ]
        order = random.Random(round_).sample([wanted, *others], 5)
        assert run(Engine(model(), parallel=5), order, every=round_)[0] == first


def test_different_seeds_differ() -> None:
    texts = {
        tuple(alone(request(0, [1, 2], sampling=SamplingParams(seed=seed, temperature=2.0))))
        for seed in range(6)
    }
    assert len(texts) == 6


def test_rows_with_random_options_equal_one_at_a_time() -> None:
    generator = random.Random(5)
    requests: list[Request] = []
    for i, ids in enumerate(prompts(6, 16)):
        sampling = SamplingParams(
            seed=i,
            temperature=generator.choice([0.0, 0.7, 1.3]),
            top_k=generator.choice([0, 1, 5, 40, 100]),
            top_p=generator.choice([0.3, 0.9, 1.0]),
            min_p=generator.choice([0.0, 0.05]),
            typical_p=generator.choice([0.4, 1.0]),
            repeat_penalty=generator.choice([1.0, 1.3]),
            repeat_last_n=generator.choice([-1, 0, 1, 8, 64]),
            presence_penalty=generator.choice([0.0, 0.6]),
            frequency_penalty=generator.choice([0.0, 0.4]),
            top_logprobs=generator.choice([None, 0, 3]),
        )
        requests.append(request(i, ids, sampling=sampling, max_tokens=generator.randrange(1, 20)))
    together = run(Engine(model(), parallel=16), requests)
    assert together == {r.id: alone(r) for r in requests}


def test_end_token_is_reported_and_ends() -> None:
    ids = [9, 8, 7]
    text = alone(request(0, ids))
    engine = Engine(model())
    engine.submit(request(0, ids, end_tokens=frozenset({text[4]})))
    last = drain(engine)[-1]
    assert isinstance(last, TokenEvent)
    assert (last.token, last.finish) == (text[4], FinishReason.STOP)


def test_max_tokens_ends_with_length() -> None:
    engine = Engine(model(), parallel=2)
    engine.submit(request(0, [9, 8, 7], max_tokens=1))
    engine.submit(request(1, [9, 8, 7], max_tokens=3))
    events = [e for e in drain(engine) if isinstance(e, TokenEvent)]
    finishes = {(e.id, e.finish) for e in events if e.finish}
    assert finishes == {(0, FinishReason.LENGTH), (1, FinishReason.LENGTH)}
    assert [e.id for e in events].count(1) == 3


def test_nothing_is_generated_for_a_limit_of_zero() -> None:
    engine = Engine(model())
    engine.submit(request(0, [1, 2], max_tokens=0))
    assert drain(engine) == [FinishEvent(id=0, finish=FinishReason.LENGTH)]


def test_abort_ends_within_a_step_and_others_go_on() -> None:
    expected = alone(request(1, [4, 5]))
    engine = Engine(model(), parallel=2)
    engine.submit(request(0, [1, 2, 3], max_tokens=400))
    engine.submit(request(1, [4, 5]))
    events: list[Event] = []
    for _ in range(5):
        events += engine.step()
    engine.abort(0)
    after = engine.step()
    assert FinishEvent(id=0, finish=FinishReason.ABORT) in after
    assert not [e for e in after if isinstance(e, TokenEvent) and e.id == 0]
    events += [e for e in [*after, *drain(engine)] if not isinstance(e, FinishEvent)]
    assert tokens_of(events)[1] == expected


@pytest.mark.parametrize("steps", range(6))
def test_abort_in_any_state_leaves_no_work(steps: int) -> None:
    engine = Engine(model(), parallel=2)
    for i in range(5):
        engine.submit(request(i, [1, 2, 3] * 20))
    for _ in range(steps):
        engine.step()
    for i in range(5):
        engine.abort(i)
    assert {type(e) for e in drain(engine)} <= {FinishEvent}


def test_stop_says_nothing_and_its_tokens_are_cached() -> None:
    engine = Engine(model())
    prompt = list(range(40))
    engine.submit(request(0, prompt, max_tokens=400))
    events: list[Event] = []
    while len(tokens_of(events).get(0, [])) < 10:
        events += engine.step()
    engine.stop(0)
    assert drain(engine) == []
    answer = tokens_of(events)[0]
    engine.submit(request(1, [*prompt, *answer, 3]))
    cached = [e.cached for e in drain(engine) if isinstance(e, PrefillEvent)]
    assert cached[0] == len(prompt) + len(answer)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([], "empty prompt"),
        ([-1], "token id out of range"),
        ([VOCABULARY], "token id out of range"),
        ([1] * 600, "longer than the context length"),
    ],
)
def test_bad_request_is_its_own_fault(ids: list[int], message: str) -> None:
    engine = Engine(model())
    engine.submit(request(0, ids))
    (fault,) = drain(engine)
    assert isinstance(fault, FaultEvent)
    assert message in fault.message
    assert fault.kind == "invalid"


# ---- the context window


@pytest.mark.parametrize("name", ["llama", "gemma3_text"])
def test_window_bounds_prompt_and_output(name: str) -> None:
    engine = Engine(model(name))
    engine.submit(request(0, list(range(20)), num_ctx=32, max_tokens=None, shift=False))
    events = [e for e in drain(engine) if isinstance(e, TokenEvent)]
    assert len(events) == 12
    assert events[-1].finish is FinishReason.LENGTH


def test_full_window_keeps_the_beginning_and_the_newer_half() -> None:
    prompt = list(range(20))
    shifting = request(0, prompt, num_ctx=32, num_keep=4, max_tokens=40)
    tokens = alone(shifting)
    assert len(tokens) == 40
    kept = (prompt + tokens)[:32]
    kept = kept[:4] + kept[4:][14:]
    assert tokens[12:20] == alone(request(1, kept, max_tokens=8))


def test_shift_in_a_batch_equals_alone() -> None:
    requests = [
        request(i, ids[:20], num_ctx=24 + i, num_keep=i, max_tokens=50)
        for i, ids in enumerate(prompts(8, 4, longest=40))
    ]
    assert run(Engine(model(), parallel=4), requests) == {r.id: alone(r) for r in requests}


def test_rotating_caches_never_shift() -> None:
    engine = Engine(model("gemma3_text"))
    engine.submit(request(0, list(range(20)), num_ctx=32, max_tokens=100))
    events = [e for e in drain(engine) if isinstance(e, TokenEvent)]
    assert len(events) == 12
    assert events[-1].finish is FinishReason.LENGTH


def test_prompt_that_fills_the_window_leaves_no_room() -> None:
    engine = Engine(model())
    engine.submit(request(0, list(range(32)), num_ctx=32, shift=False))
    assert drain(engine)[-1] == FinishEvent(id=0, finish=FinishReason.LENGTH)


def test_num_keep_below_zero_keeps_the_prompt() -> None:
    prompt = list(range(10))
    tokens = alone(request(0, prompt, num_ctx=32, num_keep=-1, max_tokens=30))
    rest = tokens[:22]
    assert tokens[22:26] == alone(request(1, prompt + rest[11:], max_tokens=4))


# ---- log-probabilities


def test_logprobs_are_the_models_own_whatever_is_sampled() -> None:
    def top(**options: float) -> TokenEvent:
        engine = Engine(model())
        sampling = SamplingParams(top_logprobs=4, seed=3, **options)  # type: ignore[arg-type]
        engine.submit(request(0, [1, 2, 3], sampling=sampling, max_tokens=1))
        event = drain(engine)[-1]
        assert isinstance(event, TokenEvent)
        return event

    greedy, penalised = top(temperature=0), top(temperature=2.0, repeat_penalty=2.0, top_k=0)
    assert greedy.top == penalised.top
    values = [entry.logprob for entry in greedy.top]
    assert values == sorted(values, reverse=True)
    assert len(values) == 4
    assert greedy.logprob == pytest.approx(values[0])
    assert greedy.token == greedy.top[0].token
    assert penalised.logprob is not None


def test_logprobs_are_absent_unless_asked_for() -> None:
    engine = Engine(model(), parallel=2)
    engine.submit(request(0, [1, 2]))
    engine.submit(request(1, [1, 2], sampling=SamplingParams(temperature=0, top_logprobs=0)))
    events = [e for e in drain(engine) if isinstance(e, TokenEvent)]
    assert all(e.logprob is None and e.top == () for e in events if e.id == 0)
    assert all(e.logprob is not None and e.top == () for e in events if e.id == 1)


# ---- faults and memory


def test_unsound_logits_end_their_row_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(model(), parallel=2, prefix_bytes=0)
    engine.submit(request(0, [1, 2], max_tokens=50))
    for _ in range(3):
        engine.step()
    cache = engine._sequences[0].cache  # pyright: ignore[reportPrivateUsage]
    for layer in cache.layers:
        layer.values = layer.values * float("nan")
    engine.submit(request(1, [3, 4]))
    events = drain(engine)
    assert FaultEvent(id=0, message="the model produced values that are not finite") in events
    assert tokens_of(e for e in events if e.id == 1)[1] == alone(request(1, [3, 4]))


def test_request_larger_than_memory_is_refused_with_numbers() -> None:
    small = model().bytes + (512 << 20) + 200_000
    engine = Engine(model(), memory_limit=small)
    engine.submit(request(0, [1, 2], num_ctx=4096, max_tokens=4000))
    engine.submit(request(1, [1, 2], num_ctx=128))
    events = drain(engine)
    (fault,) = [e for e in events if isinstance(e, FaultEvent)]
    assert (fault.id, fault.kind) == (0, "busy")
    assert "GiB" in fault.message
    assert len(tokens_of(e for e in events if e.id == 1)[1]) == 12


def test_rows_that_outgrow_memory_lose_the_youngest() -> None:
    """Rows are admitted for what they are expected to say; some say more."""
    engine = Engine(model(), parallel=2)
    engine.submit(request(0, list(range(60))))
    drain(engine)
    assert engine._prefill.prefixes.nbytes > 0  # pyright: ignore[reportPrivateUsage]
    engine.submit(request(1, [1, 2], num_ctx=2048, max_tokens=300))
    engine.submit(request(2, [3, 4], num_ctx=2048, max_tokens=300))
    events = engine.step()
    engine._budget = replace(engine._budget, room=70_000)  # pyright: ignore[reportPrivateUsage]
    events += drain(engine)
    (fault,) = [e for e in events if isinstance(e, FaultEvent)]
    assert (fault.id, fault.kind) == (2, "busy")
    assert len(tokens_of(e for e in events if e.id == 1)[1]) == 300
    assert not engine._prefill.prefixes._find("", as_bytes(range(60)))[0]  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("name", PLAIN[:1])
def test_uneven_rows_hold_little_more_than_their_keys(name: str) -> None:
    engine = Engine(model(name), parallel=8, prefix_bytes=0)
    lengths = [1000] + [100] * 7
    for i, length in enumerate(lengths):
        ids = [(i + n) % VOCABULARY for n in range(length)]
        engine.submit(request(i, ids, num_ctx=4096, max_tokens=300))
    while engine.step():
        if all(s.output > 5 for s in engine._sequences.values()):  # pyright: ignore[reportPrivateUsage]
            break
    a_token = 2 * 2 * 2 * 8 * 4
    assert engine.memory().kv <= 1.3 * a_token * (sum(lengths) + 8 * 6)
