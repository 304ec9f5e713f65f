"""Messages, tools and tool calls: Ollama's own words, which we also speak inside.

`ipc`, `prompt` and `parsers` use these types as they are. Field order is Ollama's struct order, because
prompt templates print it. Source: contract 3.7 to 3.10.
"""

from typing import Any

from msgspec import UNSET, Struct, UnsetType, field


class ToolCallFunction(Struct, kw_only=True):
    """`arguments` keeps the order of its keys; numbers may be int or float."""

    index: int = 0
    name: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)


class ToolCall(Struct, kw_only=True, omit_defaults=True):
    id: str = ""
    function: ToolCallFunction = field(default_factory=ToolCallFunction)


class Message(Struct, kw_only=True, omit_defaults=True):
    """`images` are raw bytes (decoded base64); `role` is lower case."""

    role: str = ""
    content: str = ""
    thinking: str = ""
    images: list[bytes] = field(default_factory=list)
    tool_calls: list[ToolCall] = field(default_factory=list)
    tool_name: str = ""
    tool_call_id: str = ""


class ToolProperty(Struct, kw_only=True, omit_defaults=True):
    """One property of a tool's schema. `type` is always a list; fields beyond these are dropped (as Ollama does)."""

    any_of: list["ToolProperty"] = field(name="anyOf", default_factory=list)
    type: list[str] = field(default_factory=list)
    items: Any = None
    description: str = ""
    enum: list[Any] = field(default_factory=list)
    properties: dict[str, "ToolProperty"] | None = None
    required: list[str] = field(default_factory=list)


class ToolParameters(Struct, kw_only=True, omit_defaults=True):
    """`properties` is None when the request had none: templates print that as null."""

    type: str = ""
    defs: Any = field(name="$defs", default=None)
    items: Any = None
    required: list[str] = field(default_factory=list)
    properties: dict[str, ToolProperty] | None = None


class ToolFunction(Struct, kw_only=True, omit_defaults=True):
    name: str = ""
    description: str = ""
    parameters: ToolParameters = field(default_factory=ToolParameters)


class Tool(Struct, kw_only=True, omit_defaults=True):
    type: str = ""
    items: Any = None
    function: ToolFunction = field(default_factory=ToolFunction)


class TopLogprob(Struct, kw_only=True):
    """`bytes` are the token's own bytes, which need not be whole UTF-8; absent for an empty token."""

    token: str
    logprob: float
    bytes: list[int] | UnsetType = UNSET


class Logprob(Struct, kw_only=True):
    """One generated token: natural log, ≤ 0; `top_logprobs` sorted descending, absent when none was asked."""

    token: str
    logprob: float
    bytes: list[int] | UnsetType = UNSET
    top_logprobs: list[TopLogprob] | UnsetType = UNSET


# None: not given; True/False; or a level: "low", "medium", "high", "max".
Think = bool | str | None
