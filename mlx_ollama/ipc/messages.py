"""The closed set of messages between the server and a runner.

Tagged msgspec structs; a frame (`framing.py`) is a list of them. `id` is the server's number of a request;
every request ends in exactly one of `Done`, `Rendered`, `Vectors` or `Fault` with its id, also after `Abort`.
Durations are integer nanoseconds.
"""

from typing import Literal

from msgspec import Struct, field

from mlx_ollama.api.messages import Logprob, Message, Think, Tool, ToolCall
from mlx_ollama.api.options import Options

# ---- server to runner


class Prompting(Struct, kw_only=True, omit_defaults=True):
    """Where the model's prompt format comes from; the first that is given wins (design.md, prompt source).

    `template` is the TEMPLATE layer (Go); the Jinja chat template is the runner's to read beside the weights.
    """

    renderer: str = ""
    parser: str = ""
    template: str = ""
    family: str = ""


class Load(Struct, kw_only=True, omit_defaults=True, tag="load"):
    """First message to a runner. Exactly one of `directory`, `tensors` and `gguf` says where the weights are.

    `directory`: an MLX directory (config.json, *.safetensors, tokenizer.json).
    `tensors`: tensor name to blob path and `files`: file name to blob path (Ollama's MLX layout).
    `gguf`: GGUF parts to convert into this process (live-model sink).
    `num_ctx` and `parallel` are what the server wishes; `Loaded` says what it got.
    """

    model: str
    digest: str
    directory: str = ""
    tensors: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    gguf: list[str] = field(default_factory=list)
    projectors: list[str] = field(default_factory=list)
    adapters: list[str] = field(default_factory=list)
    prompting: Prompting = field(default_factory=Prompting)
    num_ctx: int = 0
    parallel: int = 1
    memory_limit: int = 0  # bytes this runner may use; 0: find out
    dense: bool | None = None  # dequantise at load; None: on the CPU when it fits


class Generation(Struct, kw_only=True, omit_defaults=True):
    """What chat and generate share. `format` is the raw JSON of the request, empty when none was given.

    `prompting` is the asked model's own; None: that of `Load`. Models made from the same weights share a runner.
    """

    id: int
    prompting: Prompting | None = None
    options: Options = field(default_factory=Options)
    think: Think = None
    format: bytes = b""
    truncate: bool = True
    shift: bool = True
    logprobs: bool = False
    top_logprobs: int = 0
    debug_render_only: bool = False


class Chat(Generation, kw_only=True, omit_defaults=True, tag="chat"):
    """`messages` are complete: the model's own and its system prompt are already in front."""

    messages: list[Message] = field(default_factory=list)
    tools: list[Tool] = field(default_factory=list)


class Generate(Generation, kw_only=True, omit_defaults=True, tag="generate"):
    """A bare prompt (contract 8.4). `messages` is system + the model's own + the user's prompt, already merged;
    it is what is rendered unless `raw` or `suffix` is given. `context` None: absent (an empty list is given)."""

    prompt: str = ""
    suffix: str = ""
    template: str = ""
    context: list[int] | None = None
    raw: bool = False
    images: list[bytes] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)


class Embed(Struct, kw_only=True, omit_defaults=True, tag="embed"):
    """`normalize` and `dimensions` as contract 10."""

    id: int
    inputs: list[str]
    truncate: bool = True
    normalize: bool = True
    dimensions: int = 0
    num_ctx: int = 0


class Abort(Struct, kw_only=True, tag="abort"):
    """Nobody waits for this request any more; ends within one step with `Done(reason="abort")`."""

    id: int


class Drain(Struct, kw_only=True, tag="drain"):
    """Finish what runs, then exit with status 0."""


ToRunner = Load | Chat | Generate | Embed | Abort | Drain

# ---- runner to server


class Loaded(Struct, kw_only=True, omit_defaults=True, tag="loaded"):
    """The runner is ready. `memory` is bytes used; `parallel` 1 when the model's caches cannot be batched."""

    num_ctx: int
    context_length: int  # what the model was trained for
    memory: int
    parallel: int = 1
    vision: bool = False


class Progress(Struct, kw_only=True, omit_defaults=True, tag="progress"):
    """Life: bytes while loading (`id` 0), prompt tokens while prefilling."""

    id: int = 0
    completed: int = 0
    total: int = 0


class Delta(Struct, kw_only=True, omit_defaults=True, tag="delta"):
    """Text that is ready to be sent: whole UTF-8, no stop string in it, parsed."""

    id: int
    content: str = ""
    thinking: str = ""
    tool_calls: list[ToolCall] = field(default_factory=list)
    logprobs: list[Logprob] = field(default_factory=list)


DoneReason = Literal["stop", "length", "abort"]


class Metrics(Struct, kw_only=True, omit_defaults=True):
    """`prompt_eval_count` counts cached tokens too; `cached` says how many of them were."""

    prompt_eval_count: int = 0
    prompt_eval_duration: int = 0
    eval_count: int = 0
    eval_duration: int = 0
    cached: int = 0


class Done(Struct, kw_only=True, omit_defaults=True, tag="done"):
    """The last word on a chat or generate. `context` is prompt and output as token ids (generate without raw)."""

    id: int
    reason: DoneReason
    metrics: Metrics
    context: list[int] = field(default_factory=list)


class Rendered(Struct, kw_only=True, omit_defaults=True, tag="rendered"):
    """Answer to `debug_render_only`."""

    id: int
    prompt: str
    image_count: int = 0


class Vectors(Struct, kw_only=True, omit_defaults=True, tag="vectors"):
    """`data` is float32 little-endian, `count` rows of `width`; `tokens` is the sum over all inputs."""

    id: int
    data: bytes
    count: int
    width: int
    tokens: int = 0
    duration: int = 0


# invalid: the request's fault (400); busy: come back later (503); failed: our fault (500);
# not_implemented: what this version cannot do yet (400).
FaultKind = Literal["invalid", "busy", "failed", "not_implemented"]


class Fault(Struct, kw_only=True, omit_defaults=True, tag="fault"):
    """A request's error, or with `id` 0 the runner's own (loading); after the latter the runner exits."""

    id: int = 0
    kind: FaultKind = "failed"
    message: str = ""


class Memory(Struct, kw_only=True, omit_defaults=True, tag="memory"):
    """Bytes, about once a second while working."""

    active: int = 0
    peak: int = 0
    cache: int = 0
    kv: int = 0


FromRunner = Loaded | Progress | Delta | Done | Rendered | Vectors | Fault | Memory
