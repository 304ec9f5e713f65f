"""`python -m benchmarks.embed --gguf FILE [--tiny] [--texts N] [--rounds N] [--out FOLDER]`

Vectors of N texts of mixed length from an embedding model's GGUF: over HTTP in one request and one by one, and, round
by round in turn, the same weights in plain MLX in this process, a text at a time, tokenized beforehand. Texts a second,
and CPU milliseconds a text (of the server and its runner, where it is over HTTP). Prints one table of medians, writes
embed.json and embed.png.
"""

import hashlib
import lzma
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import measure
from benchmarks.measure import Report, Spent
from benchmarks.serving import cpu_of
from benchmarks.startup import MODEL, Server

TINY_GGUF = Path(__file__).parents[1] / "tests" / "data" / "encoders" / "bert" / "model.gguf.xz"
LENGTHS = (4, 12, 40, 120)  # words
WORDS = [
    "why",
    "is",
    "the",
    "sky",
    "blue",
    "and",
    "how",
    "do",
    "fish",
    "sleep",
    "under",
    "ice",
    "in",
    "winter",
]


def texts(count: int) -> list[str]:
    dice = random.Random(1)
    return [" ".join(dice.choices(WORDS, k=dice.choice(LENGTHS))) for _ in range(count)]


class Plain:
    """The weights in MLX, and nothing around them."""

    def __init__(self, gguf: Path, inputs: list[str]) -> None:
        from tokenizers import Tokenizer

        from converters.sinks import live
        from mlx_ollama.engine.loader import load_stream

        source = live([gguf])
        loaded = load_stream(source.config, source.weights)
        self._model: Any = loaded.model
        tokenizer = Tokenizer.from_str(source.files["tokenizer.json"].decode())
        longest = loaded.context_length
        self._rows = [tokenizer.encode(text).ids[:longest] for text in inputs]

    def run(self) -> Spent:
        import mlx.core as mx

        with measure.spent() as found:
            for row in self._rows:
                ids = mx.array([row])
                mx.eval(self._model(ids, mx.ones(ids.shape, mx.bool_)).mean(1))
        return found


def served(server: Server, batches: list[list[str]]) -> Spent:
    """Over HTTP, one request after another."""
    wall, cpu = time.perf_counter(), cpu_of(server.process.pid)
    for batch in batches:
        server.call("POST", "/api/embed", {"model": MODEL, "input": batch})
    return Spent(time.perf_counter() - wall, cpu_of(server.process.pid) - cpu)


def upload(server: Server, gguf: Path) -> None:
    content = gguf.read_bytes()
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    server.call("POST", f"/api/blobs/{digest}", content)
    server.call("POST", "/api/create", {"model": MODEL, "files": {"model.gguf": digest}})


def compare(gguf: Path, home: Path, count: int, rounds: int) -> Report:
    inputs = texts(count)
    plain, server = Plain(gguf, inputs), Server(home)
    try:
        server.wait_until_it_answers()
        upload(server, gguf)
        ways: dict[str, Callable[[], Spent]] = {
            "served, one request": lambda: served(server, [inputs]),
            "served, one by one": lambda: served(server, [[text] for text in inputs]),
            "plain MLX, one by one": plain.run,
        }
        for run in ways.values():  # the first loads and warms up
            run()
        found: dict[str, list[Spent]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, run in ways.items():
                found[name].append(run())
    finally:
        server.stop()
    report = Report(f"vectors of {count} texts of {LENGTHS[0]} to {LENGTHS[-1]} words")
    for name, spent in found.items():
        report.add(
            name,
            **{
                "texts/s": count / statistics.median(one.wall for one in spent),
                "cpu ms a text": 1000 * statistics.median(one.cpu for one in spent) / count,
            },
        )
    return report


def main() -> None:
    parser = measure.arguments("benchmarks.embed", __doc__, rounds=3)
    parser.add_argument("--texts", type=int, default=256)
    given = parser.parse_args()
    if not given.gguf and not given.tiny:
        parser.error("--gguf names an embedding model's file")
    measure.with_openblas("benchmarks.embed")
    with tempfile.TemporaryDirectory() as folder:
        gguf = given.gguf or Path(folder) / "tiny.gguf"
        if given.tiny:
            gguf.write_bytes(lzma.decompress(TINY_GGUF.read_bytes()))
        report = compare(gguf, Path(folder) / "home", given.texts, given.rounds)
    report.print()
    report.save(given.out, "embed", "texts/s")


if __name__ == "__main__":
    main()
