"""`python -m benchmarks.engine [--tiny | --gguf FILE] [--rounds N] [--out FOLDER]`: the engine without HTTP.

Decode of 1, 2, 4, 8 and 16 rows beside the same model in a bare loop that does what mlx-lm's does; one row of
4,000 tokens beside seven of 100; the two ways of attention over rows; and the longest wait of a stream while a 1,200-token prompt arrives.
`over bare`: our CPU milliseconds a step beyond the bare loop's.
"""

import random
import statistics
import time
from typing import Any

from benchmarks.measure import (
    Report,
    Spent,
    arguments,
    medians,
    real_model,
    spent,
    tiny_model,
    with_openblas,
)

ROWS = (1, 2, 4, 8, 16)
TARGET_GAP = 0.15


def prompt(length: int, seed: int = 0) -> list[int]:
    generator = random.Random(seed)
    return [generator.randrange(3, 500) for _ in range(length)]


def bare(model: Any, steps: int) -> Spent:
    """One token after another, the next one queued before the last is read."""
    import mlx.core as mx

    from mlx_ollama.engine import mlx_models

    caches = mlx_models.new_caches(model.model)
    ids = prompt(20)
    mx.eval(model.model(mx.array([ids[:-1]]), cache=caches))

    def step(token: mx.array) -> mx.array:
        logits = model.model(token[None], cache=caches)[:, -1]
        return mx.argmax(logits - mx.logsumexp(logits, keepdims=True), axis=-1)

    token = step(mx.array([ids[-1]]))
    mx.async_eval(token)
    with spent() as found:
        for _ in range(steps):
            following = step(token)
            mx.async_eval(following)
            token.item()
            token = following
    return found


def decoding(model: Any, lengths: list[int], output: int, free: int = 0) -> Any:
    """An engine whose rows have all been prefilled and decode, with room for `free` more."""
    from mlx_ollama.engine.engine import Engine
    from mlx_ollama.engine.sequence import Request, SamplingParams

    engine = Engine(model, parallel=len(lengths) + free, prefix_bytes=0)
    for i, length in enumerate(lengths):
        sampling = SamplingParams(seed=i)
        engine.submit(
            Request(id=i, ids=prompt(length, i), num_ctx=8192, max_tokens=output, sampling=sampling)
        )
    reported: set[int] = set()
    while len(reported) < len(lengths):
        reported |= {event.id for event in engine.step() if hasattr(event, "token")}
    return engine


def steps_of(engine: Any, steps: int) -> Spent:
    with spent() as found:
        for _ in range(steps):
            engine.step()
    return found


def measure_rows(model: Any, report: Report, rounds: int, steps: int) -> None:
    """Interleaved, so that a machine that gets busier does not favour what came first."""
    bares, ours = list[Spent](), {rows: list[Spent]() for rows in ROWS}
    for _ in range(rounds):
        bares.append(bare(model, steps))
        for rows in ROWS:
            engine = decoding(model, [20] * rows, steps + 20)
            ours[rows].append(steps_of(engine, steps))
    base = medians(iter(bares).__next__, rounds)
    report.add("bare loop", **_figures(base, steps, 1))
    for rows in ROWS:
        found = medians(iter(ours[rows]).__next__, rounds)
        report.add(
            f"engine, rows: {rows}",
            **_figures(found, steps, rows),
            **{
                "over bare": (found.cpu - base.cpu) / steps * 1e3,
                "speed": rows * base.cpu / found.cpu,
            },
        )


def _figures(found: Spent, steps: int, rows: int) -> dict[str, float]:
    return {
        "ms a step": found.wall / steps * 1e3,
        "cpu ms": found.cpu / steps * 1e3,
        "tokens/s": rows * steps / found.wall,
    }


def measure_uneven(model: Any, report: Report, steps: int) -> None:
    lengths = [4000, *[100] * 7]
    engine = decoding(model, lengths, steps + 4 * len(lengths) + 200)
    held = [s.cache for s in engine._sequences.values()]
    found = steps_of(engine, steps)
    distinct = sum(c.nbytes * c.length // _capacity(c) for c in held)
    report.add(
        "4,000 + 7 x 100",
        **_figures(found, steps, len(lengths)),
        **{"kv / distinct": sum(c.nbytes for c in held) / distinct},
    )


def measure_attention(model: Any, report: Report, steps: int) -> None:
    """The two ways of attention over rows, on rows of one length and of very different ones."""
    from mlx_ollama.engine import row_attention

    chosen = row_attention.ATTEND
    for name, lengths in (("8 x 512", [512] * 8), ("4,000 + 7 x 100", [4000, *[100] * 7])):
        for way in (row_attention.by_row, row_attention.by_group):
            row_attention.ATTEND = way
            engine = decoding(model, lengths, steps + 4 * len(lengths) + 200)
            found = steps_of(engine, steps)
            report.add(f"{name}, {way.__name__}", **_figures(found, steps, len(lengths)))
    row_attention.ATTEND = chosen


def _capacity(cache: Any) -> int:
    return cache.layers[0].keys.shape[2]


def measure_gap(model: Any, report: Report, arrival: int = 1200) -> None:
    """The longest wait between two tokens of a stream, while others' prompts arrive."""
    from mlx_ollama.engine.sequence import Request

    engine = decoding(model, [20], 4000, free=1)
    quiet, waits, done = list[float](), list[float](), False
    last = time.perf_counter()
    for number in range(30):
        if number == 15:
            engine.submit(Request(id=9, ids=prompt(arrival, 9), num_ctx=8192, max_tokens=2))
        events = engine.step()
        now = time.perf_counter()
        (quiet if number < 15 else waits).append(now - last)
        last = now
        done = done or any(event.id == 9 and hasattr(event, "token") for event in events)
    while not done:
        events = engine.step()
        now = time.perf_counter()
        waits.append(now - last)
        last = now
        done = any(event.id == 9 and hasattr(event, "token") for event in events)
    step = statistics.median(quiet)
    report.add(
        "stream during a 1,200-token prompt",
        **{
            "ms a step": statistics.median(waits) * 1e3,
            "longest ms": max(waits) * 1e3,
            "allowed ms": (TARGET_GAP + 3 * step) * 1e3,
            "ttft s": sum(waits),
        },
    )


def main() -> None:
    chosen = arguments("python -m benchmarks.engine", __doc__, 3).parse_args()
    with_openblas("benchmarks.engine")
    model = tiny_model() if chosen.tiny else real_model(chosen.gguf)[0]
    steps = 200 if chosen.tiny else 12
    report = Report(f"engine, {'a random model of two layers' if chosen.tiny else 'dense float32'}")
    measure_rows(model, report, chosen.rounds, steps)
    measure_uneven(model, report, steps)
    measure_attention(model, report, steps)
    measure_gap(model, report)
    report.print()
    report.save(chosen.out, "engine-tiny" if chosen.tiny else "engine", "tokens/s")


if __name__ == "__main__":
    main()
