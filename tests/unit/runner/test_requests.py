"""Requests between a socket and an engine; the engine is a double that plays a script."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any, Self

import pytest

from mlx_ollama.api.messages import Message
from mlx_ollama.api.options import Options
from mlx_ollama.engine.engine import MemoryUse
from mlx_ollama.engine.sequence import Event, FinishEvent, FinishReason, Request, TokenEvent
from mlx_ollama.ipc import framing
from mlx_ollama.ipc.messages import (
    Chat,
    Delta,
    Done,
    Fault,
    FromRunner,
    Generate,
    Memory,
    Prompting,
    Rendered,
)
from mlx_ollama.prompt.conversation import Conversation, TemplateError
from mlx_ollama.runner.engine_thread import EngineThread
from mlx_ollama.runner.formats import Formats
from mlx_ollama.runner.model import Model
from mlx_ollama.runner.outbox import MAX_WAITING, Outbox
from mlx_ollama.runner.prompting import Prompter, Speech
from mlx_ollama.runner.requests import Requests
from mlx_ollama.runner.tokenizer import Tokenizer

ANSWER = "hi hi hi"


class ScriptedEngine:
    """Answers every request with the same ids, one a step. `gate` holds the steps back while it is shut."""

    def __init__(self, ids: list[int]) -> None:
        self._ids, self._at = ids, dict[int, int]()
        self._aborted = list[int]()
        self.requests = list[Request]()
        self.gate = threading.Event()
        self.gate.set()

    def submit(self, request: Request) -> None:
        self.requests.append(request)
        self._at[request.id] = 0

    def abort(self, request_id: int) -> None:
        if self.stop(request_id):
            self._aborted.append(request_id)

    def stop(self, request_id: int) -> bool:
        return self._at.pop(request_id, None) is not None

    @property
    def has_work(self) -> bool:
        return bool(self._at or self._aborted)

    def memory(self) -> MemoryUse:
        return MemoryUse(active=1, peak=2, cache=3, kv=4)

    def step(self) -> list[Event]:
        self.gate.wait()
        events: list[Event] = [FinishEvent(id=n, finish=FinishReason.ABORT) for n in self._aborted]
        self._aborted = []
        for number, at in list(self._at.items()):
            is_last = at == len(self._ids) - 1
            finish = FinishReason.LENGTH if is_last else None
            events.append(TokenEvent(id=number, token=self._ids[at], finish=finish))
            self._at[number] = at + 1
            if is_last:
                del self._at[number]
        return events


class Stage:
    """The runner's parts around a scripted engine, and the server's end of the socket."""

    def __init__(self, tokenizer: Tokenizer, answer: str = ANSWER) -> None:
        self.server, self._mine = socket.socketpair()
        self.server.settimeout(20)  # a hang is a failure with a traceback
        self.engine = ScriptedEngine(tokenizer.encode(answer))
        self.idle = threading.Event()
        self.prompter: Any = Prompter(Prompting(template="{{ .Prompt }}"), "")
        outbox = Outbox(self._mine, lambda: None)

        def no_compiler() -> Any:
            raise AssertionError("no format is asked for")

        model = Model(
            tokenizer=tokenizer,
            prompter=self.prompter,
            formats=Formats(no_compiler),
            end_tokens=frozenset(),
            num_ctx=256,
        )
        self.model = model
        thread = EngineThread(lambda *step: self.requests.stepped(*step))
        self.requests = Requests(model, thread, outbox, self.idle.set)
        engine: Any = self.engine
        thread.start(lambda _: engine)

    def close(self) -> None:
        self.engine.gate.set()
        self.server.close()
        self._mine.close()

    def read_until(self, last: int) -> list[FromRunner]:
        """Everything up to the last word on request `last`."""
        out = list[FromRunner]()
        while True:
            out += self._frame()
            if any(isinstance(m, Done | Fault | Rendered) and m.id == last for m in out):
                return out

    def _frame(self) -> list[FromRunner]:
        size = int.from_bytes(self._exactly(4), "little")
        return framing.decode_from_runner(self._exactly(size))

    def _exactly(self, size: int) -> bytes:
        out = b""
        while len(out) < size:
            piece = self.server.recv(size - len(out))
            assert piece, "the runner closed"
            out += piece
        return out


@pytest.fixture
def stage(tokenizer: Tokenizer) -> Iterator[Stage]:
    made = Stage(tokenizer)
    yield made
    made.close()


def chat(number: int, content: str = "hi", **fields: Any) -> Chat:
    return Chat(id=number, messages=[Message(role="user", content=content)], **fields)


def content(messages: list[FromRunner], number: int) -> str:
    return "".join(m.content for m in messages if isinstance(m, Delta) and m.id == number)


def test_an_answer_streams_and_ends(stage: Stage) -> None:
    stage.requests.begin(chat(1))
    out = stage.read_until(1)
    assert content(out, 1) == ANSWER
    assert isinstance(out[-1], Done)
    assert stage.idle.wait(5)


def test_options_reach_the_engine(stage: Stage) -> None:
    options = Options(temperature=-1, top_p=7, seed=3, repeat_last_n=-1, num_predict=5, num_keep=2)
    stage.requests.begin(chat(1, options=options, logprobs=True, top_logprobs=4))
    stage.read_until(1)
    request = stage.engine.requests[0]
    assert (request.max_tokens, request.num_keep, request.num_ctx) == (5, 2, 256)
    assert (request.sampling.temperature, request.sampling.top_p) == (0.0, 1.0)
    assert (request.sampling.seed, request.sampling.repeat_last_n) == (3, 256)
    assert request.sampling.top_logprobs == 4


def test_without_a_limit_an_answer_may_fill_ten_windows(stage: Stage) -> None:
    stage.requests.begin(chat(1, options=Options(num_predict=0, num_ctx=100)))
    stage.read_until(1)
    assert stage.engine.requests[0].max_tokens == 1000
    assert stage.engine.requests[0].sampling.seed is None


def test_a_stop_string_stops_the_sequence_in_the_engine(stage: Stage) -> None:
    stage.requests.begin(chat(1, options=Options(stop=["hi hi"])))
    out = stage.read_until(1)
    assert content(out, 1) == ""
    assert stage.idle.wait(5)


def test_memory_is_told_while_working(stage: Stage) -> None:
    stage.requests.begin(chat(1))
    assert Memory(active=1, peak=2, cache=3, kv=4) in stage.read_until(1)


def test_an_abort_ends_a_running_request_with_its_own_reason(stage: Stage) -> None:
    stage.engine.gate.clear()
    stage.requests.begin(chat(1))
    while not stage.engine.requests:
        stage.engine.gate.wait(0.01)
    stage.requests.abort(1)
    stage.engine.gate.set()
    last = stage.read_until(1)[-1]
    assert isinstance(last, Done)
    assert last.reason == "abort"


class Slow:
    """Renders only after `release`."""

    def __init__(self) -> None:
        self.release = threading.Event()

    def render(self, conversation: Conversation) -> str:
        self.release.wait(20)
        return "late"


class Speaking:
    """A prompter that speaks through one renderer."""

    def __init__(self, renderer: Any) -> None:
        self._renderer = renderer

    def of(self, _prompting: Prompting | None) -> Self:
        return self

    def speech(self, template: str = "", **_: Any) -> Speech:
        return Speech(renderer=self._renderer)


def with_renderer(stage: Stage, renderer: Any) -> None:
    speaking: Any = Speaking(renderer)
    stage.model.prompter = speaking


def test_an_abort_ends_a_request_that_is_still_being_prepared(stage: Stage) -> None:
    slow = Slow()
    with_renderer(stage, slow)
    stage.requests.begin(chat(1))
    stage.requests.abort(1)
    last = stage.read_until(1)[-1]
    assert isinstance(last, Done)
    assert last.reason == "abort"
    slow.release.set()


def test_a_template_that_never_ends_costs_only_its_own_request(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlx_ollama.runner.requests.TEXT_SECONDS", 0.0)
    slow, quick = Slow(), stage.model.prompter
    with_renderer(stage, slow)
    stage.requests.begin(chat(1))
    fault = stage.read_until(1)[-1]
    assert isinstance(fault, Fault)
    assert "took too long" in fault.message
    assert stage.requests.workers.abandoned == 1
    monkeypatch.setattr("mlx_ollama.runner.requests.TEXT_SECONDS", 5.0)
    stage.model.prompter = quick
    stage.requests.begin(chat(2))
    assert content(stage.read_until(2), 2) == ANSWER
    slow.release.set()


class Failing:
    def __init__(self, error: BaseException) -> None:
        self._error = error

    def render(self, conversation: Conversation) -> str:
        raise self._error


class Panic(BaseException):
    """As a Rust library's panic: no Exception."""


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (TemplateError("bad"), "template error: bad"),
        (Panic("secret"), "the request could not be prepared"),
        (MemoryError(), "the request could not be prepared"),
    ],
)
def test_whatever_goes_wrong_in_preparing_is_one_request_s_error(
    stage: Stage, error: BaseException, text: str
) -> None:
    with_renderer(stage, Failing(error))
    stage.requests.begin(chat(1))
    assert stage.read_until(1)[-1] == Fault(id=1, kind="failed", message=text)


class Bounded:
    """As a template whose result is limited."""

    def render(self, conversation: Conversation) -> str:
        text = "".join(message.content for message in conversation.messages)
        if len(text) > 100_000:
            raise TemplateError("template gives too many characters")
        return text


def test_a_history_that_no_template_may_print_loses_its_oldest_messages(stage: Stage) -> None:
    with_renderer(stage, Bounded())
    long = [Message(role="user", content="hi " * 20_000) for _ in range(9)]
    stage.requests.begin(Chat(id=1, messages=[*long, Message(role="user", content="hi")]))
    assert content(stage.read_until(1), 1) == ANSWER
    assert stage.engine.requests[0].ids == stage.model.tokenizer.encode_prompt("hi")


@pytest.mark.parametrize("truncate", [True, False])
def test_a_message_that_no_template_may_print_is_the_request_s_fault(
    stage: Stage, truncate: bool
) -> None:
    with_renderer(stage, Bounded())
    stage.requests.begin(chat(1, "hi " * 50_000, truncate=truncate))
    fault = stage.read_until(1)[-1]
    assert isinstance(fault, Fault)
    assert (fault.kind, fault.message[:20]) == ("invalid", "the prompt is longer")


def test_a_request_s_own_bad_template_is_its_own_fault(stage: Stage) -> None:
    stage.requests.begin(Generate(id=1, prompt="hi", template="{{ if }}"))
    fault = stage.read_until(1)[-1]
    assert isinstance(fault, Fault)
    assert fault.kind == "invalid"
    assert fault.message.startswith("template error: ")


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (Generate(id=1, prompt="a", context=[600]), "token id out of range"),
        (Generate(id=1, prompt="a", context=[-1]), "token id out of range"),
        (
            Generate(id=1, prompt="a", raw=True, format=b'"xml"'),
            'invalid format: "\\"xml\\""; expected',
        ),
        (Generate(id=1, prompt="a", raw=True, format=b"[1]"), 'invalid format: "[1]"; expected'),
        (Generate(id=1, prompt="a" * 999, raw=True, shift=False), "the prompt is longer than"),
        (Generate(id=1, prompt="a" * 99_999, raw=True, truncate=False), "the prompt is longer"),
        (Generate(id=1, prompt="a", raw=True, images=[b"x"]), "does not support image input"),
        (Generate(id=1, prompt="", raw=True), "empty prompt"),
    ],
)
def test_a_wrong_request_is_refused_with_a_reason(
    stage: Stage, message: Generate, text: str
) -> None:
    stage.requests.begin(message)
    fault = stage.read_until(1)[-1]
    assert isinstance(fault, Fault)
    assert fault.kind == "invalid"
    assert text in fault.message


def test_a_long_raw_prompt_is_clipped(stage: Stage) -> None:
    stage.requests.begin(Generate(id=1, prompt="a" * 999, raw=True))
    stage.read_until(1)
    assert len(stage.engine.requests[0].ids) == 256 - (256 - 4) // 2


def test_context_goes_in_front_of_the_new_prompt_and_comes_back_with_the_answer(
    stage: Stage,
) -> None:
    messages = [Message(role="user", content="hi")]
    stage.requests.begin(Generate(id=1, prompt="hi", context=[3, 4], messages=messages))
    last = stage.read_until(1)[-1]
    encode = stage.model.tokenizer.encode
    assert isinstance(last, Done)
    assert last.context == [3, 4, *encode("hi"), *encode(ANSWER)]
    assert last.metrics.prompt_eval_count == 2 + len(encode("hi"))


def test_raw_answers_have_no_context(stage: Stage) -> None:
    stage.requests.begin(Generate(id=1, prompt="hi", raw=True))
    last = stage.read_until(1)[-1]
    assert isinstance(last, Done)
    assert last.context == []


def test_the_prompt_can_be_shown_instead_of_answered(stage: Stage) -> None:
    message = Message(role="user", content="a [img] b", images=[b"x", b"y"])
    stage.requests.begin(Chat(id=1, messages=[message], debug_render_only=True))
    assert stage.read_until(1)[-1] == Rendered(id=1, prompt="[img-1]a [img-0] b", image_count=2)
    assert stage.engine.requests == []


def test_a_server_that_does_not_read_loses_that_request_and_the_engine_goes_on(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlx_ollama.runner.outbox.MAX_WAITING", 4 << 10)
    stage = Stage(tokenizer, " hill" * 20_000)
    stage.requests.begin(chat(1))
    assert stage.idle.wait(30)  # ended although nobody reads
    assert isinstance(stage.read_until(1)[-1], Fault)
    stage.close()


def test_what_waits_for_one_request_is_bounded() -> None:
    server, mine = socket.socketpair()
    closed = threading.Event()
    outbox = Outbox(mine, closed.set)
    delta = Delta(id=1, content="x" * (64 << 10))
    stalled = [outbox.put([delta]) for _ in range(20)]
    assert stalled[-1] == {1}
    assert sum(not numbers for numbers in stalled) * (64 << 10) >= MAX_WAITING - (64 << 10)
    server.close()
    assert closed.wait(5)
    mine.close()


def test_a_failure_of_mlx_ends_the_process_with_status_70() -> None:
    code = (
        "from mlx_ollama.runner.engine_thread import EngineThread\n"
        "import threading\n"
        "def load(_): raise RuntimeError('metal')\n"
        "EngineThread(lambda *_: None).start(load)\n"
        "threading.Event().wait(20)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert ended.returncode == 70
