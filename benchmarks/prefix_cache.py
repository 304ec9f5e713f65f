"""`python -m benchmarks.prefix_cache [--tiny | --gguf FILE] [--rounds N] [--out FOLDER]`: what a stored prefix saves.

A prompt of 1,000 tokens cold, again, with another question, as the next turn, in branches that come back, and
an agent's trace whose prompt grows call by call. `of cold` is the CPU to the first token beside a cold prompt
of the same length; `added MB` what the process holds more afterwards.
"""

import random
from collections.abc import Iterator
from typing import Any

from benchmarks.measure import (
    Report,
    Spent,
    arguments,
    real_model,
    spent,
    tiny_model,
    with_openblas,
)

LENGTH = 1000
ANSWER = 16


class Asker:
    """One engine; counts what was cached, and remembers answers."""

    def __init__(self, model: Any) -> None:
        from mlx_ollama.engine.engine import Engine

        self.engine = Engine(model, parallel=1)
        self.cached = 0
        self._number = 0

    def ask(self, ids: list[int]) -> tuple[Spent, list[int]]:
        """(until the first token, the answer)."""
        from mlx_ollama.engine.sequence import PrefillEvent, Request, SamplingParams, TokenEvent

        self._number += 1
        sampling = SamplingParams(temperature=0)
        request = Request(
            id=self._number, ids=ids, num_ctx=8192, max_tokens=ANSWER, sampling=sampling
        )
        answer: list[int] = []
        with spent() as first:
            self.engine.submit(request)
            while not answer:
                for event in self.engine.step():
                    if isinstance(event, PrefillEvent):
                        self.cached = event.cached
                    elif isinstance(event, TokenEvent):
                        answer.append(event.token)
        while self.engine.has_work:
            answer += [e.token for e in self.engine.step() if isinstance(e, TokenEvent)]
        return first, answer

    def held(self) -> int:
        import mlx.core as mx

        mx.clear_cache()
        return mx.get_active_memory()


def tokens(count: int, seed: int) -> list[int]:
    generator = random.Random(seed)
    return [generator.randrange(3, 500) for _ in range(count)]


def scenario(round_: int) -> Iterator[tuple[str, list[int] | None]]:
    """Names and prompts; None: the last prompt and answer go on with a new question."""
    system, questions = tokens(LENGTH, round_), [tokens(12, round_ * 10 + i) for i in range(4)]
    yield "cold", system + questions[0]
    yield "again", system + questions[0]
    yield "another question", system + questions[1]
    yield "next turn", None
    yield "third branch", system + questions[2]
    yield "first branch again", system + questions[0]
    yield "second branch again", system + questions[1]


def one_round(model: Any, round_: int) -> dict[str, tuple[Spent, int, int]]:
    """By name: (spent to the first token, cached tokens, bytes added)."""
    asker, found = Asker(model), dict[str, tuple[Spent, int, int]]()
    ids: list[int] = []
    answer: list[int] = []
    for name, prompt in scenario(round_):
        ids = ids + answer + tokens(20, 77) if prompt is None else prompt
        before = asker.held()
        first, answer = asker.ask(ids)
        found[name] = (first, asker.cached, asker.held() - before)
    return found


def agent(model: Any) -> tuple[float, float]:
    """A trace of eight calls: (CPU seconds to all first tokens, cached share of all prompt tokens)."""
    asker, history = Asker(model), tokens(LENGTH, 5)
    cpu, cached, total = 0.0, 0, 0
    for turn in range(8):
        history = history + tokens(60, 100 + turn)
        first, answer = asker.ask(history)
        cpu, cached, total = cpu + first.cpu, cached + asker.cached, total + len(history)
        history = history + answer
    return cpu, cached / total


def main() -> None:
    chosen = arguments("python -m benchmarks.prefix_cache", __doc__, 3).parse_args()
    with_openblas("benchmarks.prefix_cache")
    model = tiny_model() if chosen.tiny else real_model(chosen.gguf)[0]
    Asker(model).ask(tokens(40, 99))  # compiles what there is to compile
    rounds = [one_round(model, i) for i in range(chosen.rounds)]
    report = Report(f"prefix cache, a prompt of {LENGTH + 12} tokens")
    cold = min(found["cold"][0].cpu for found in rounds)
    for name in rounds[0]:
        best = min((found[name] for found in rounds), key=lambda entry: entry[0].cpu)
        figures = {
            "ttft ms": best[0].wall * 1e3,
            "cpu ms": best[0].cpu * 1e3,
            "of cold": best[0].cpu / cold,
            "cached": best[1],
            "added MB": best[2] / 1e6,
        }
        report.add(name, **figures)
    cpu, share = agent(model)
    report.add(
        "agent, eight calls", **{"cpu ms": cpu * 1e3, "of cold": cpu / cold / 8, "cached": share}
    )
    report.print()
    report.save(chosen.out, "prefix_cache", "cpu ms")


if __name__ == "__main__":
    main()
