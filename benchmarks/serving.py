"""`python -m benchmarks.serving [--gguf FILE] [--tiny] [--tokens N] [--rounds N] [--against NAME=URL] [--out FOLDER]`

Streams over HTTP, 1, 2, 4, 8 and 16 at once: seconds to the first token, tokens a second of all together, CPU
milliseconds a token of the server and its runners. In the same run, round by round in turn: bare
mlx_lm.stream_generate in a process of its own, and every other server that --against names
(`ollama=http://127.0.0.1:11434/MODEL`; an address that ends with `/v1/MODEL` is spoken to as OpenAI's).
Prints one table of medians, writes serving.json and serving.png. `ratio` is tokens a second against bare.
"""

import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from benchmarks import measure
from benchmarks.startup import MODEL, Server, create
from mlx_ollama.quickstart import model_file

STREAMS = (1, 2, 4, 8, 16)
PATIENCE_SECONDS = 600.0
TINY_GGUF = Path(__file__).parents[1] / "tests" / "data" / "zoo" / "llama" / "model-f16.gguf"
TOPICS = (
    "the sea,a clock,an old tree,the moon,a train,rain,a letter,bread,a bridge,snow,a map,a lamp"
)


class Stream(NamedTuple):
    """One answer: seconds to its first token, and how many tokens it has."""

    first: float
    tokens: int


class Round(NamedTuple):
    """All streams of one measurement. `cpu` is seconds of the server and its children; 0 when unknown."""

    first: float
    wall: float
    cpu: float
    tokens: int


def candidates() -> list[str]:
    """Different prompts, so that no stream is spared its own by another's."""
    topics = TOPICS.split(",")
    return [
        f"{number}. Write a long story about {topics[number % len(topics)]}."
        for number in range(4 * STREAMS[-1])
    ]


def long_prompts(target: "Target", tokens: int) -> list[str]:
    """As many as the most streams, which the target answers in full length where there are enough of them."""
    most, found, all_prompts = STREAMS[-1], list[str](), candidates()
    for start in range(0, len(all_prompts), most):
        batch = all_prompts[start : start + most]
        streams = ask_all(target, batch, tokens)
        found += [batch[i] for i, stream in enumerate(streams) if stream.tokens >= tokens]
        if len(found) >= most:
            return found[:most]
    return (found + all_prompts)[:most]


class Target(NamedTuple):
    """A server that speaks Ollama's or OpenAI's language. `pid` is 0 when its CPU cannot be seen."""

    name: str
    host: str
    model: str
    is_openai: bool = False
    pid: int = 0

    @classmethod
    def parse(cls, text: str) -> "Target":
        name, _, address = text.partition("=")
        url = urlsplit(address)
        path, _, model = url.path.rpartition("/")
        if not url.netloc or not model:
            raise SystemExit(f"--against {text}: want NAME=http://HOST:PORT[/v1]/MODEL")
        return cls(name, url.netloc, model, is_openai=path == "/v1")

    def ask(self, prompt: str, tokens: int) -> Stream:
        connection = http.client.HTTPConnection(self.host, timeout=PATIENCE_SECONDS)
        started = time.perf_counter()
        path, body = self._request(prompt, tokens)
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        if answer.status != 200:
            raise SystemExit(f"{self.name}: {answer.status} {answer.read(500)!r}")
        first, count = 0.0, 0
        for chunk in self._chunks(answer):
            first = first or time.perf_counter() - started
            count = chunk or count + 1
        connection.close()
        return Stream(first, count)

    def rendered(self, prompt: str) -> str:
        """The prompt as our server gives it to the model, so that bare mlx_lm continues the same text."""
        connection = http.client.HTTPConnection(self.host, timeout=PATIENCE_SECONDS)
        body = {"model": self.model, "prompt": prompt, "_debug_render_only": True}
        connection.request("POST", "/api/generate", json.dumps(body))
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return answer["_debug_info"]["rendered_template"]

    def _request(self, prompt: str, tokens: int) -> tuple[str, dict[str, Any]]:
        if self.is_openai:
            message = {"role": "user", "content": prompt}
            body: dict[str, Any] = {"messages": [message], "max_tokens": tokens, "temperature": 0}
            return "/v1/chat/completions", body | {"model": self.model, "stream": True}
        options = {"num_predict": tokens, "temperature": 0}
        return "/api/generate", {"model": self.model, "prompt": prompt, "options": options}

    def _chunks(self, answer: http.client.HTTPResponse) -> Iterator[int]:
        """0 for a chunk with text, the number of tokens for the last one of an Ollama."""
        for line in answer:
            text = line.removeprefix(b"data: ").strip()
            if self.is_openai:
                if text and text != b"[DONE]" and b'"content":""' not in text:
                    yield 0
            elif text.startswith(b'{"error"'):
                raise SystemExit(f"{self.name}: {text!r}")
            else:
                yield json.loads(text).get("eval_count", 0)


def ask_all(target: Target, prompts: list[str], tokens: int) -> list[Stream]:
    """All at once, in the order of the prompts."""
    with ThreadPoolExecutor(len(prompts)) as pool:
        return list(pool.map(lambda prompt: target.ask(prompt, tokens), prompts))


def measure_target(target: Target, prompts: list[str], tokens: int) -> Round:
    cpu, started = cpu_of(target.pid), time.perf_counter()
    found = ask_all(target, prompts, tokens)
    wall, cpu = time.perf_counter() - started, cpu_of(target.pid) - cpu
    first = statistics.median(stream.first for stream in found)
    return Round(first, wall, cpu, sum(stream.tokens for stream in found))


def cpu_of(pid: int) -> float:
    """CPU seconds of a process and its children, as far as the system tells."""
    if not pid:
        return 0.0
    listing = subprocess.run(
        ["ps", "-axo", "pid=,ppid=,time="], capture_output=True, text=True, check=True
    )
    rows = [line.split() for line in listing.stdout.splitlines()]
    tree = {str(pid)}
    for process, parent, _ in rows:
        if parent in tree:
            tree.add(process)
    if Path("/proc").is_dir():
        return sum(_proc_seconds(process) for process in tree)
    return sum(_clock_seconds(clock) for process, _, clock in rows if process in tree)


def _proc_seconds(pid: str) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _clock_seconds(clock: str) -> float:
    """[[hours:]minutes:]seconds"""
    seconds = 0.0
    for part in clock.replace("-", ":").split(":"):
        seconds = seconds * 60 + float(part)
    return seconds


class Bare:
    """mlx_lm.stream_generate in a process of its own, on the same weights."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.bare", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, prompt: str, tokens: int) -> Round:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = {"prompt": prompt, "tokens": tokens}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        got = json.loads(self._process.stdout.readline() or "{}")
        if not got:
            raise SystemExit("bare mlx_lm ended")
        return Round(got["first"], got["total"], got["cpu"], int(got["tokens"]))

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def our_server(gguf: Path, home: Path) -> Generator[Target]:
    create(home, gguf)
    server = Server(home, OLLAMA_NUM_PARALLEL=str(STREAMS[-1]))
    try:
        server.wait_until_it_answers()
        yield Target("ours", f"127.0.0.1:{server.port}", MODEL, pid=server.process.pid)
    finally:
        server.stop()


def converted(gguf: Path, folder: Path) -> Path:
    """The model as an MLX directory, for bare mlx_lm."""
    command = [sys.executable, "-m", "converters", "convert", "--progress", "none"]
    subprocess.run([*command, str(gguf), str(folder / "mlx")], check=True)
    return folder / "mlx"


def add(report: measure.Report, name: str, rounds: list[Round], bare: float) -> float:
    """A row of medians; returns its tokens a second."""
    speed = statistics.median(one.tokens / one.wall for one in rounds)
    figures = {
        "first token s": statistics.median(one.first for one in rounds),
        "tokens/s": speed,
    }
    if any(one.cpu for one in rounds):
        figures["cpu ms/token"] = statistics.median(
            1000 * one.cpu / max(one.tokens, 1) for one in rounds
        )
    report.add(name, **figures, ratio=speed / bare if bare else 1.0)
    return speed


def run(gguf: Path, targets: list[Target], rounds: int, tokens: int) -> measure.Report:
    report = measure.Report(f"streams of {tokens} tokens over HTTP, medians of {rounds}")
    with tempfile.TemporaryDirectory() as folder, our_server(gguf, Path(folder)) as ours:
        prompts = long_prompts(ours, tokens)
        bare = Bare(converted(gguf, Path(folder)))
        text = ours.rendered(prompts[0])
        everyone: dict[str, Callable[[], Round]] = {"bare mlx_lm": lambda: bare.ask(text, tokens)}
        for streams in STREAMS:
            for target in (ours, *targets):
                everyone[f"{target.name}, {streams} at once"] = (
                    lambda target=target, count=streams: measure_target(
                        target, prompts[:count], tokens
                    )
                )
        try:
            found = _in_turn(everyone, rounds)
        finally:
            bare.stop()
    speed = 0.0
    for name, measured in found.items():
        mine = add(report, name, measured, speed)
        speed = speed or mine
    return report


def _in_turn(everyone: dict[str, Callable[[], Round]], rounds: int) -> dict[str, list[Round]]:
    """One warm-up that does not count, then every measurement once a round, so that noise hits all alike."""
    found: dict[str, list[Round]] = {name: [] for name in everyone}
    for number in range(rounds + 1):
        for name, ask in everyone.items():
            if number or "at once" not in name or ", 1 at" in name:
                measured = ask()
                found[name] += [measured] if number else []
    return found


def main() -> None:
    parser = measure.arguments("python -m benchmarks.serving", __doc__, rounds=3)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--against", action="append", default=[], metavar="NAME=URL")
    chosen = parser.parse_args()
    measure.with_openblas("benchmarks.serving")
    gguf = chosen.gguf or (TINY_GGUF if chosen.tiny else model_file())
    targets = [Target.parse(text) for text in chosen.against]
    report = run(gguf, targets, chosen.rounds, chosen.tokens)
    report.print()
    report.save(chosen.out, "serving", "tokens/s")


if __name__ == "__main__":
    main()
