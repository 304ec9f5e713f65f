"""A runner process that plays a script over ipc, without MLX.

    Limits(command=command(Script(say=["Hel", "lo"])))

Runs by its path, so that the process it makes looks like any runner: the socket's number is its last argument.
"""

import asyncio
import os
import signal
import socket
import struct
import sys
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from mlx_ollama.ipc import framing
from mlx_ollama.ipc.messages import (
    Abort,
    Chat,
    Delta,
    Done,
    DoneReason,
    Drain,
    Embed,
    Fault,
    FromRunner,
    Generate,
    Load,
    Loaded,
    Memory,
    Metrics,
    Progress,
    Rendered,
    ToRunner,
    Vectors,
)

Trouble = Literal["", "crash", "exit", "hang", "garbage", "fault", "busy", "wait", "close"]


class Script(Struct, kw_only=True, omit_defaults=True):
    """What the fake does. `say` is one delta each, `times` over, `delay` seconds between them; `echo` says the prompt instead.

    `trouble` comes after `after` deltas (0: before the first): crash is SIGKILL, exit is status 0, hang answers
    nothing ever again, wait stops until an Abort, close shuts the socket and lives on. `load_trouble` comes instead
    of Loaded. `deltas` come instead of `say` until a tool has answered. With `marker`, troubles come only while that file is absent, and make it: a second runner is healthy.
    `journal` gets a line for each thing that happens, with `record` also every message of a chat.
    """

    say: list[str] = msgspec.field(default_factory=lambda: ["Hello", " there", "."])
    deltas: list[Delta] = msgspec.field(default_factory=list)
    times: int = 1
    echo: bool = False
    delay: float = 0.0
    trouble: Trouble = ""
    after: int = 0
    load_trouble: Trouble = ""
    load_seconds: float = 0.0
    load_steps: int = 0
    marker: str = ""
    journal: str = ""
    record: bool = False
    num_ctx: int = 4096
    context_length: int = 8192
    parallel: int = 0  # 0: as many as wished
    memory: int = 1000
    width: int = 3


def command(script: Script | None = None) -> tuple[str, ...]:
    """For `Limits.command`."""
    return (sys.executable, __file__, msgspec.json.encode(script or Script()).decode())


def journal(path: Path) -> list[str]:
    """What the fakes with this journal have done so far."""
    return path.read_text().splitlines() if path.exists() else []


class FakeRunner:
    def __init__(self, script: Script, sock: socket.socket) -> None:
        self.script, self.sock = script, sock
        self.running: dict[int, asyncio.Task[None]] = {}
        self.load = Load(model="", digest="")

    def note(self, text: str) -> None:
        if self.script.journal:
            with Path(self.script.journal).open("a") as file:
                file.write(text + "\n")

    def send(self, *messages: FromRunner) -> None:
        self.sock.sendall(framing.encode(messages))

    def misbehaves(self) -> bool:
        """Whether trouble is due in this process; the marker makes it the only one."""
        if not self.script.marker:
            return True
        marker = Path(self.script.marker)
        if marker.exists() and marker.read_text() != str(os.getpid()):
            return False
        marker.write_text(str(os.getpid()))
        return True

    async def suffer(self, trouble: Trouble, number: int) -> None:
        self.note(f"{trouble} {number}")
        match trouble:
            case "crash":
                os.kill(os.getpid(), signal.SIGKILL)
            case "exit":
                os._exit(0)
            case "hang" | "close":
                self.stand_still(trouble)
            case "garbage":
                self.sock.sendall(struct.pack("<I", 4) + b"\xff\xff\xff\xff")
            case "fault":
                self.send(Fault(id=number, kind="failed", message="it went wrong"))
            case "busy":
                self.send(Fault(id=number, kind="busy", message="come back later"))
            case "wait" | "":
                await asyncio.Event().wait()

    def stand_still(self, trouble: Trouble) -> None:
        if trouble == "close":
            self.sock.shutdown(socket.SHUT_RDWR)
        while True:
            signal.pause()

    async def be_loaded(self, message: Load) -> None:
        self.load = message
        self.note(f"load {message.model} {message.digest} {message.num_ctx} pid {os.getpid()}")
        for step in range(self.script.load_steps):
            self.send(Progress(completed=step, total=self.script.load_steps))
            await asyncio.sleep(self.script.load_seconds)
        if not self.script.load_steps:
            await asyncio.sleep(self.script.load_seconds)
        if self.script.load_trouble and self.misbehaves():
            await self.suffer(self.script.load_trouble, 0)
            os._exit(1)
        script = self.script
        self.send(
            Loaded(
                num_ctx=min(message.num_ctx or script.num_ctx, script.context_length),
                context_length=script.context_length,
                memory=script.memory,
                parallel=script.parallel or message.parallel,
            )
        )

    async def answer(self, request: Chat | Generate | Embed) -> None:
        self.note(f"request {request.id}")
        reason: DoneReason = "stop"
        try:
            if isinstance(request, Embed):
                self.embed(request)
                return
            if request.debug_render_only:
                self.send(Rendered(id=request.id, prompt=prompt_of(request)))
                return
            await self.speak(request)
        except asyncio.CancelledError:
            reason = "abort"
        finally:
            self.running.pop(request.id, None)
        self.send(Done(id=request.id, reason=reason, metrics=self.metrics(request)))

    def embed(self, request: Embed) -> None:
        row = struct.pack(f"<{self.script.width}f", *[1.0] + [0.0] * (self.script.width - 1))
        count = len(request.inputs)
        self.send(
            Vectors(
                id=request.id, data=row * count, count=count, width=self.script.width, duration=1,
                tokens=sum(len(text.split()) for text in request.inputs),
            )
        )  # fmt: skip

    async def speak(self, request: Chat | Generate) -> None:
        self.send(Progress(id=request.id, completed=1, total=1), Memory(active=self.script.memory))
        for index, delta in enumerate([*self.reply(request), None]):
            if self.script.trouble and index == self.script.after and self.misbehaves():
                await self.suffer(self.script.trouble, request.id)
                return
            if delta:
                delta.id = request.id
                self.send(delta)
            await asyncio.sleep(self.script.delay)

    def reply(self, request: Chat | Generate) -> list[Delta]:
        for message in request.messages if self.script.record else ():
            self.note("message " + msgspec.json.encode(message).decode())
        answered = bool(request.messages) and request.messages[-1].role == "tool"
        if self.script.deltas and not answered:
            return self.script.deltas
        words = [prompt_of(request)] if self.script.echo else self.script.say * self.script.times
        return [Delta(id=0, content=word) for word in words if word]

    def metrics(self, request: Chat | Generate | Embed) -> Metrics:
        prompt = "" if isinstance(request, Embed) else prompt_of(request)
        return Metrics(
            prompt_eval_count=max(1, len(prompt.split())),
            prompt_eval_duration=1000,
            eval_count=len(self.script.say) * self.script.times,
            eval_duration=1000,
        )

    async def handle(self, message: ToRunner) -> None:
        match message:
            case Load():
                await self.be_loaded(message)
            case Abort():
                self.note(f"abort {message.id}")
                if task := self.running.get(message.id):
                    task.cancel()
            case Drain():
                await asyncio.gather(*self.running.values())
                os._exit(0)
            case Chat() | Generate() | Embed():
                self.running[message.id] = asyncio.create_task(self.answer(message))


def prompt_of(request: Chat | Generate) -> str:
    if isinstance(request, Chat):
        return request.messages[-1].content if request.messages else ""
    return request.prompt


async def play(script: Script, number: int) -> None:
    sock = socket.socket(fileno=number)
    runner = FakeRunner(script, sock)
    receive: Any = framing.receive_to_runner
    while True:
        messages = await asyncio.to_thread(receive, sock)
        if messages is None:
            runner.note("eof")
            os._exit(0)
        for message in messages:
            await runner.handle(message)


if __name__ == "__main__":
    asyncio.run(play(msgspec.json.decode(sys.argv[1].encode(), type=Script), int(sys.argv[2])))
