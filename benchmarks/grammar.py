"""`python -m benchmarks.grammar [--gguf FILE] [--rounds N] [--out FOLDER]`: what structured output costs.

Compile time of schemas, microseconds a token to compute the mask and to take a token, milliseconds to apply masks
to the logits of one and of eight rows, and steps of constrained beside unconstrained rows. `of a step` is the CPU
of mask and token beside the CPU of one unconstrained decode step.
"""

import json
import time
from typing import Any

from benchmarks.engine import decoding, prompt, steps_of
from benchmarks.measure import Report, Spent, arguments, medians, real_model, with_openblas

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "email": {"type": "string", "format": "email"},
        "tags": {"type": "array", "items": {"enum": ["a", "b", "c"]}, "maxItems": 4},
        "address": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "zip": {"type": "string", "pattern": "^[0-9]{5}$"},
            },
            "required": ["city", "zip"],
        },
    },
    "required": ["name", "age", "email", "tags", "address"],
}
TEXT = (
    '{"name": "Anna Meyer", "age": 25, "email": "anna@example.com", "tags": ["a", "c"], '
    '"address": {"city": "New York", "zip": "10001"}}'
)
FORMATS: dict[str, Any] = {
    "json": "json",
    "person": PERSON,
    "list of persons": {"type": "array", "items": PERSON},
    "1,000 words": {"enum": [f"word {i}" for i in range(1000)]},
}


def timed(work: Any, times: int = 1) -> float:
    """CPU seconds of one call."""
    start = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - start) / times


def measure_walk(
    compiler: Any, ids: list[int], vocab_size: int, report: Report, step: float
) -> None:
    """Mask and token along a text that the schema allows."""
    from mlx_ollama.engine.grammar import open_masks

    constraint = compiler.compile(json.dumps(PERSON).encode())
    bits = open_masks(1, vocab_size)
    masks = takes = 0.0
    for token in ids:
        masks += timed(lambda: constraint.fill(bits[0]))
        start = time.process_time()
        constraint.allow(token)
        takes += time.process_time() - start
    cost = (masks + takes) / len(ids)
    report.add(
        "mask and token of one row",
        **{
            "mask us": masks / len(ids) * 1e6,
            "token us": takes / len(ids) * 1e6,
            "cpu ms": cost * 1e3,
            "of a step": cost / step,
        },
    )


def measure_apply(vocab_size: int, report: Report, step: float) -> None:
    import mlx.core as mx

    from mlx_ollama.engine.grammar import open_masks, to_array
    from mlx_ollama.engine.logits import apply_mask

    for rows in (1, 8):
        logits = mx.random.normal((rows, vocab_size))
        bits = open_masks(rows, vocab_size)
        mx.eval(logits, apply_mask(logits, to_array(bits)))
        cost = timed(lambda: mx.eval(apply_mask(logits, to_array(bits))), 50)  # noqa: B023
        figures = {"cpu ms": cost * 1e3, "of a step": cost / step}
        report.add(f"masks applied, rows: {rows}", **figures)


def constrained(model: Any, compiler: Any, rows: int, steps: int) -> Any:
    from mlx_ollama.engine.engine import Engine
    from mlx_ollama.engine.sequence import Request

    engine = Engine(model, parallel=rows, prefix_bytes=0)
    # An object of any depth and length: nothing ends before the steps do.
    for i in range(rows):
        grammar = compiler.compile(
            b'{"type": "array", "items": {"type": "integer"}, "minItems": 500}'
        )
        ids = prompt(20, i)
        engine.submit(Request(id=i, ids=ids, num_ctx=4096, max_tokens=steps + 40, grammar=grammar))
    reported: set[int] = set()
    while len(reported) < rows:
        reported |= {event.id for event in engine.step() if hasattr(event, "token")}
    return engine


def measure_steps(model: Any, compiler: Any, report: Report, rounds: int, steps: int) -> float:
    """Returns CPU seconds of a free step of one row."""
    found: dict[str, list[Spent]] = {}
    for _ in range(rounds):
        for rows in (1, 8):
            free = decoding(model, [20] * rows, steps + 40)
            found.setdefault(f"free, rows: {rows}", []).append(steps_of(free, steps))
            bound = constrained(model, compiler, rows, steps)
            found.setdefault(f"constrained, rows: {rows}", []).append(steps_of(bound, steps))
    best = {name: medians(iter(values).__next__, rounds) for name, values in found.items()}
    one = best["free, rows: 1"].cpu / steps
    for name, value in best.items():
        figures = {"ms a step": value.wall / steps * 1e3, "cpu ms": value.cpu / steps * 1e3}
        report.add(name, **figures, **{"of a step": value.cpu / steps / one})
    return one


def main() -> None:
    chosen = arguments("python -m benchmarks.grammar", __doc__, 3).parse_args()
    with_openblas("benchmarks.grammar")
    from tokenizers import Tokenizer

    from mlx_ollama.engine.grammar import Compiler

    model, source = real_model(chosen.gguf)
    report = Report("structured output")
    start = time.process_time()
    compiler = Compiler(source, model.vocab_size, frozenset({2}))
    report.add("vocabulary read once", **{"cpu ms": (time.process_time() - start) * 1e3})
    for name, value in FORMATS.items():
        cost = timed(lambda: compiler.compile(json.dumps(value).encode()))  # noqa: B023
        report.add(f"compile {name}", **{"cpu ms": cost * 1e3})
    step = measure_steps(model, compiler, report, chosen.rounds, 12)
    ids = Tokenizer.from_str(source).encode(TEXT, add_special_tokens=False).ids
    measure_walk(compiler, ids, model.vocab_size, report, step)
    measure_apply(model.vocab_size, report, step)
    report.print()
    report.save(chosen.out, "grammar", "cpu ms")


if __name__ == "__main__":
    main()
