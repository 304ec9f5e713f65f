"""A runner process on a real (tiny) model, through its socket."""

import json
import os
import random
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.convert import convert
from mlx_ollama.api.messages import Message
from mlx_ollama.api.options import Options
from mlx_ollama.ipc import framing
from mlx_ollama.ipc.messages import (
    Abort,
    Chat,
    Delta,
    Done,
    Drain,
    Embed,
    Fault,
    FromRunner,
    Generate,
    Load,
    Loaded,
    Prompting,
    Rendered,
    ToRunner,
    Vectors,
)
from mlx_ollama.runner.tokenizer import Tokenizer

LLAMA = Path(__file__).parents[1] / "data" / "zoo" / "llama"  # made by the zoo's generator

pytestmark = pytest.mark.e2e

CHAT = "{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"
GREEDY = Options(temperature=0, num_predict=24)


class RunnerProcess:
    """A runner and the server's end of its socket."""

    def __init__(self, load: Load) -> None:
        self.server, theirs = socket.socketpair()
        self.server.settimeout(60)  # a hang is a failure with a traceback
        command = [sys.executable, "-m", "mlx_ollama.runner", str(theirs.fileno())]
        self.process = subprocess.Popen(
            command, pass_fds=[theirs.fileno()], stderr=subprocess.PIPE, env={**os.environ}
        )
        theirs.close()
        self._numbers = iter(range(1, 1 << 30))
        self.send(load)

    def send(self, *messages: ToRunner) -> None:
        self.server.sendall(framing.encode(messages))

    def receive(self) -> list[FromRunner]:
        size = int.from_bytes(self._exactly(4), "little")
        return framing.decode_from_runner(self._exactly(size))

    def _exactly(self, size: int) -> bytes:
        out = b""
        while len(out) < size:
            piece = self.server.recv(size - len(out))
            assert piece, self._last_words()
            out += piece
        return out

    def _last_words(self) -> str:
        """Why it ended."""
        assert self.process.stderr is not None
        status, log = self.process.wait(10), self.process.stderr.read().decode()
        return f"the runner closed with status {status}: {log}"

    def until(self, *wanted: type) -> list[FromRunner]:
        """Everything up to the first message of a kind."""
        out = list[FromRunner]()
        while not any(isinstance(message, wanted) for message in out):
            out += self.receive()
        return out

    def ask(self, *requests: Chat | Generate) -> dict[int, list[FromRunner]]:
        """All requests at once; their messages by number."""
        for request in requests:
            request.id = next(self._numbers)
        out = {request.id: list[FromRunner]() for request in requests}
        self.send(*requests)
        last_words = (Done, Fault, Rendered, Vectors)
        while not all(any(isinstance(m, last_words) for m in found) for found in out.values()):
            for message in self.receive():
                if getattr(message, "id", 0) in out:
                    out[message.id].append(message)  # pyright: ignore[reportAttributeAccessIssue]
        return out

    def answer(self, request: Chat | Generate) -> list[FromRunner]:
        (found,) = self.ask(request).values()
        return found

    def close(self) -> None:
        self.server.close()
        self.process.wait(10)
        assert self.process.stderr is not None
        self.process.stderr.close()


def text(messages: Sequence[FromRunner]) -> str:
    return "".join(m.content for m in messages if isinstance(m, Delta))


def done(messages: Sequence[FromRunner]) -> Done:
    assert isinstance(messages[-1], Done), messages[-1]
    return messages[-1]


def chat(content: str, **fields: Any) -> Chat:
    return Chat(id=0, messages=[Message(role="user", content=content)], **fields)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("model") / "llama"
    convert([LLAMA / "model-f16.gguf"], out)
    return out


@pytest.fixture(scope="module")
def runner(model: Path) -> Iterator[RunnerProcess]:
    started = RunnerProcess(loading(model))
    loaded = started.until(Loaded, Fault)[-1]
    assert isinstance(loaded, Loaded)
    assert (loaded.num_ctx, loaded.context_length, loaded.parallel) == (512, 512, 8)
    yield started
    started.close()


def loading(model: Path, **fields: Any) -> Load:
    prompting = Prompting(template=CHAT)
    return Load(
        model="m",
        digest="d",
        directory=str(model),
        num_ctx=4096,
        parallel=8,
        prompting=prompting,
        **fields,
    )


def test_greedy_text_and_log_probabilities_are_the_reference_s(runner: RunnerProcess) -> None:
    golden = json.loads((LLAMA / "golden.json").read_text())
    request = Generate(
        id=0, prompt=golden["text"], raw=True, options=GREEDY, logprobs=True, top_logprobs=20
    )
    out = runner.answer(request)
    entries = [entry for m in out if isinstance(m, Delta) for entry in m.logprobs]
    assert done(out).metrics.prompt_eval_count == len(golden["ids"])
    assert done(out).metrics.eval_count == len(entries) == len(golden["greedy"])
    logits = np.array(golden["last_logits"])
    wanted = np.sort(logits - np.logaddexp.reduce(logits))[::-1][:20]
    top = entries[0].top_logprobs
    assert isinstance(top, list)
    assert np.abs(np.array([entry.logprob for entry in top]) - wanted).max() < 1e-3


def test_eight_at_once_say_what_each_says_alone(runner: RunnerProcess) -> None:
    options = Options(temperature=0.8, seed=3, num_predict=16)
    questions = [f"question {'x' * place} {place}" for place in range(8)]
    alone = [text(runner.answer(chat(question, options=options))) for question in questions]
    together = runner.ask(*(chat(question, options=options) for question in questions))
    assert [text(found) for found in together.values()] == alone


def test_a_conversation_goes_on_from_its_context(runner: RunnerProcess) -> None:
    first = done(runner.answer(Generate(id=0, prompt="a", messages=[user("a")], options=GREEDY)))
    again = Generate(id=0, prompt="b", messages=[user("b")], context=first.context, options=GREEDY)
    second = done(runner.answer(again))
    assert second.context[: len(first.context)] == first.context
    assert second.metrics.cached > 0


def user(content: str) -> Message:
    return Message(role="user", content=content)


def test_a_schema_is_kept(runner: RunnerProcess) -> None:
    schema = b'{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}'
    out = runner.answer(chat("json", options=Options(seed=1, num_predict=60), format=schema))
    assert text(out).startswith('{"a":')


THINKS = CHAT.replace(
    "{{ .Content }}", "{{ .Content }}{{ if .Thinking }}<t>{{ .Thinking }}</t>{{ end }}"
)


def test_a_schema_is_kept_from_the_first_content_of_a_model_that_may_think(
    runner: RunnerProcess,
) -> None:
    """This one never thinks, so that its first token is taken back."""
    schema = b'{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}'
    request = chat(
        "json",
        options=Options(seed=1, num_predict=60),
        format=schema,
        think=True,
        prompting=Prompting(template=THINKS),
    )
    assert text(runner.answer(request)).startswith('{"a":')


def test_an_invalid_schema_is_the_request_s_fault_and_its_neighbour_says_the_same(
    runner: RunnerProcess,
) -> None:
    neighbour = chat("b", options=Options(seed=1, num_predict=40))
    alone = text(runner.answer(neighbour))
    good, bad = runner.ask(neighbour, chat("a", format=b'{"type":"nosuch"}')).values()
    assert isinstance(bad[-1], Fault)
    assert bad[-1].kind == "invalid"
    assert bad[-1].message.startswith("invalid format: ")
    assert text(good) == alone


def test_an_abort_ends_a_stream(runner: RunnerProcess) -> None:
    request = Generate(id=9_999, prompt="a", raw=True, options=Options(seed=1, num_predict=-1))
    runner.send(request)
    runner.until(Delta)
    runner.send(Abort(id=9_999))
    assert done(runner.until(Done)).reason == "abort"


def test_every_request_has_one_last_word_and_nothing_after_it(runner: RunnerProcess) -> None:
    draw, open_, ended = random.Random(4), set[int](), list[int]()
    numbers = iter(range(20_000, 20_200))
    while len(ended) < 200:
        while len(open_) < 12 and (number := next(numbers, 0)):
            runner.send(*_any_request(number, draw))
            open_.add(number)
        for message in runner.receive():
            number = getattr(message, "id", 0)
            assert number not in ended
            if isinstance(message, Done | Fault | Vectors):
                ended.append(number)
                open_.discard(number)
    assert len(set(ended)) == len(ended)


def _any_request(number: int, draw: random.Random) -> list[ToRunner]:
    """Of any kind, with any end; a third of them is aborted at once."""
    options = Options(num_predict=draw.choice([1, 5, 40]), stop=draw.choice([[], ["e"]]))
    messages = [user("question " * draw.randint(1, 99))]
    request = draw.choice(
        [
            Chat(id=number, messages=messages, options=options),
            Chat(id=number, messages=messages, options=options, format=b'"json"'),
            Chat(id=number, messages=messages, options=options, format=b'{"type":"nosuch"}'),
            Generate(id=number, prompt="x", template="{{ if }}", messages=messages),
            Generate(id=number, prompt="x" * draw.randint(1, 999), raw=True, options=options),
            Embed(id=number, inputs=["a", "b" * draw.randint(1, 99)]),
        ]
    )
    return [request, Abort(id=number)] if draw.random() < 0.3 else [request]


LONG = [Message(role=role, content="a") for role in ("user", "assistant") * 50]
HOSTILE = {
    "Go": "{{ range $.Messages }}" * 8 + "." + "{{ end }}" * 8,
    "Jinja": "{% for a in range(9999) %}{% for b in range(9999) %}{{ a * b }}{% endfor %}{% endfor %}",
}


@pytest.mark.parametrize("language", HOSTILE)
def test_beside_a_hostile_template_an_answer_goes_on(model: Path, tmp_path: Path, language: str):
    shutil.copytree(model, tmp_path, dirs_exist_ok=True)
    if language == "Jinja":
        (tmp_path / "chat_template.jinja").write_text(HOSTILE["Jinja"])
    template = HOSTILE["Go"] if language == "Go" else ""
    runner = RunnerProcess(
        Load(model="m", digest="d", directory=str(tmp_path), parallel=2, prompting=Prompting(template=template))
    )  # fmt: skip
    runner.until(Loaded)
    endless = Options(seed=1, num_predict=-1)
    runner.send(Generate(id=1, prompt="a", raw=True, options=endless))
    runner.until(Delta)
    runner.send(Chat(id=2, messages=LONG))
    found = runner.until(Fault)
    assert [type(m) for m in found if getattr(m, "id", 0) == 2] == [Fault]
    assert next(m for m in found if isinstance(m, Fault)).message.startswith("template error: ")
    assert sum(isinstance(m, Delta) for m in found) > 3
    runner.close()


def test_a_gguf_is_loaded_without_writing_anything(runner: RunnerProcess) -> None:
    gguf = str(LLAMA / "model-f16.gguf")
    live = RunnerProcess(
        Load(model="m", digest="d", gguf=[gguf], prompting=Prompting(template=CHAT), parallel=2)
    )
    loaded = live.until(Loaded, Fault)[-1]
    assert isinstance(loaded, Loaded)
    request = chat("hello", options=GREEDY)
    assert text(live.answer(request)) == text(runner.answer(request))
    live.close()


def test_a_language_model_gives_vectors_of_length_one(runner: RunnerProcess) -> None:
    runner.send(Embed(id=5_000, inputs=["one", "two", "one"]))
    found = runner.until(Vectors, Fault)[-1]
    assert isinstance(found, Vectors)
    rows = np.frombuffer(found.data, "<f4").reshape(found.count, found.width)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1)
    assert np.allclose(rows[0], rows[2], atol=1e-5)
    assert not np.allclose(rows[0], rows[1], atol=1e-2)


MARKS = {
    "idefics3": "<image>",
    "mistral3": "[IMG]",
    "qwen3vl": "<|vision_start|><|image_pad|><|vision_end|>",
}


@pytest.mark.parametrize("family", MARKS)
def test_what_is_said_about_a_picture_is_the_reference_s(family: str) -> None:
    folder = LLAMA.parents[1] / "vision" / family
    golden = json.loads((folder / "golden.json").read_text())
    runner = RunnerProcess(Load(model="m", digest="d", directory=str(folder)))
    loaded = runner.until(Loaded, Fault)[-1]
    assert isinstance(loaded, Loaded)
    assert loaded.vision
    request = Generate(
        id=0,
        prompt=golden["text"].replace(MARKS[family], "[img-0]"),
        raw=True,
        images=[(folder / "image.png").read_bytes()],
        options=Options(temperature=0, num_predict=len(golden["greedy"])),
        logprobs=True,
    )
    out = runner.answer(request)
    spoken = [bytes(entry.bytes or []) for m in out if isinstance(m, Delta) for entry in m.logprobs]
    tokenizer = Tokenizer((folder / "tokenizer.json").read_bytes(), {})
    assert done(out).metrics.prompt_eval_count == len(golden["input_ids"])
    assert spoken == [tokenizer.piece(token) for token in golden["greedy"]]
    runner.close()


def test_it_ends_at_once_when_the_server_closes_in_mid_stream(model: Path) -> None:
    runner = RunnerProcess(loading(model))
    runner.until(Loaded)
    runner.send(Generate(id=1, prompt="a", raw=True, options=Options(seed=1)))
    runner.until(Delta)
    runner.close()
    assert runner.process.returncode == 0


def test_a_drain_lets_what_runs_finish(model: Path) -> None:
    runner = RunnerProcess(loading(model))
    runner.until(Loaded)
    runner.send(Generate(id=1, prompt="a", raw=True, options=GREEDY), Drain())
    assert done(runner.until(Done)).id == 1
    assert runner.process.wait(10) == 0
    runner.close()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"config.json": b"{}"}, "config.json"),
        ({"tokenizer.json": b"{"}, "tokenizer.json is not JSON"),
        ({"tokenizer.json": None}, "no tokenizer.json"),
        ({"model.safetensors": b"\x00" * 64}, ""),
    ],
)
def test_a_model_that_cannot_be_loaded_is_a_fault_and_the_end(
    model: Path, tmp_path: Path, change: dict[str, bytes | None], text: str
) -> None:
    for file in model.iterdir():
        content = change.get(file.name, file.read_bytes())
        if content is not None:
            (tmp_path / file.name).write_bytes(content)
    runner = RunnerProcess(loading(tmp_path))
    fault = runner.until(Fault)[-1]
    assert isinstance(fault, Fault)
    assert (fault.id, text in fault.message) == (0, True)
    assert str(tmp_path) not in fault.message
    assert runner.process.wait(10) == 1
    runner.close()


def test_a_runner_imports_neither_transformers_nor_the_rest_of_mlx_lm() -> None:
    code = "import sys, mlx_ollama.runner.runner; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(found.stdout.split())
    assert not loaded & {"transformers", "mlx_lm.utils", "torch", "litestar", "httpx"}
