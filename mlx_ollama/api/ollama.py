"""Generate, chat and embed, as they travel over HTTP. Field order of responses is Ollama's.

A response field without a default is always written; one with a default is left out while it has it.
"""

from typing import Any

from msgspec import UNSET, Raw, Struct, UnsetType, field

from mlx_ollama.api.messages import Logprob, Message, Think, ToolCall
from mlx_ollama.api.values import KeepAlive, Tools, check_think


class Inference(Struct, kw_only=True):
    """What generate and chat requests share. None where absent and null differ from a value."""

    model: str = ""
    stream: bool | None = None
    format: Raw = Raw()
    keep_alive: KeepAlive | None = None
    options: dict[str, Any] | None = None
    think: Think = None
    truncate: bool | None = None
    shift: bool | None = None
    debug_render_only: bool = field(name="_debug_render_only", default=False)
    logprobs: bool = False
    top_logprobs: int = 0

    def __post_init__(self) -> None:
        check_think(self.think)


class GenerateRequest(Inference, kw_only=True):
    """Contract 8.1. An empty list of `context` counts as given."""

    prompt: str = ""
    suffix: str = ""
    system: str = ""
    template: str = ""
    context: list[int] | None = None
    raw: bool = False
    images: list[bytes] | None = None


class ChatRequest(Inference, kw_only=True):
    """Contract 9.1."""

    messages: list[Message] | None = None
    tools: Tools | None = None


class EmbedRequest(Struct, kw_only=True):
    """Contract 10.1. `input` is text, a list of texts, or nothing; other types are refused later."""

    model: str = ""
    input: Any = None
    keep_alive: KeepAlive | None = None
    truncate: bool | None = None
    dimensions: int = 0
    options: dict[str, Any] | None = None


class EmbeddingRequest(Struct, kw_only=True):
    """Contract 11 (the older endpoint)."""

    model: str = ""
    prompt: str = ""
    keep_alive: KeepAlive | None = None
    options: dict[str, Any] | None = None


class DebugInfo(Struct, kw_only=True, omit_defaults=True):
    rendered_template: str
    image_count: int = 0


class GenerateResponse(Struct, kw_only=True, omit_defaults=True):
    """One line of a generate reply; metrics are nanoseconds and tokens."""

    model: str
    created_at: str
    response: str
    thinking: str = ""
    done: bool
    done_reason: str = ""
    context: list[int] = field(default_factory=list)
    total_duration: int = 0
    load_duration: int = 0
    prompt_eval_count: int = 0
    prompt_eval_duration: int = 0
    eval_count: int = 0
    eval_duration: int = 0
    tool_calls: list[ToolCall] = field(default_factory=list)
    debug_info: DebugInfo | UnsetType = field(name="_debug_info", default=UNSET)
    logprobs: list[Logprob] = field(default_factory=list)


class ReplyMessage(Struct, kw_only=True, omit_defaults=True):
    role: str
    content: str
    thinking: str = ""
    tool_calls: list[ToolCall] = field(default_factory=list)


class ChatResponse(Struct, kw_only=True, omit_defaults=True):
    """One line of a chat reply."""

    model: str
    created_at: str
    message: ReplyMessage
    done: bool
    done_reason: str = ""
    debug_info: DebugInfo | UnsetType = field(name="_debug_info", default=UNSET)
    logprobs: list[Logprob] = field(default_factory=list)
    total_duration: int = 0
    load_duration: int = 0
    prompt_eval_count: int = 0
    prompt_eval_duration: int = 0
    eval_count: int = 0
    eval_duration: int = 0


class EmbedResponse(Struct, kw_only=True, omit_defaults=True):
    """`embeddings` is written even when empty. Values are float32."""

    model: str
    embeddings: list[list[float]]
    total_duration: int = 0
    load_duration: int = 0
    prompt_eval_count: int = 0


class EmbeddingResponse(Struct, kw_only=True):
    embedding: list[float]


class ErrorResponse(Struct, kw_only=True):
    error: str
