"""What travels over HTTP about models: tags, show, ps, create, copy, delete, pull, push (contract 12 to 20).

Requests tolerate unknown fields and take null for "not given" (the decoder strips it). Field order is Ollama's.
"""

from datetime import datetime
from typing import Any

from msgspec import Struct, field

from mlx_ollama.api.messages import Message


class NamedRequest(Struct, kw_only=True, omit_defaults=True):
    """`name` is the deprecated spelling of `model`."""

    model: str = ""
    name: str = ""

    @property
    def target(self) -> str:
        """The model's name as it was sent; `model` wins."""
        return self.model or self.name


class ShowRequest(NamedRequest, kw_only=True, omit_defaults=True):
    """`system` and `options` change what `modelfile` shows only; `template` is ignored, as by Ollama."""

    system: str = ""
    template: str = ""
    verbose: bool = False
    options: dict[str, Any] = field(default_factory=dict)


class CreateRequest(NamedRequest, kw_only=True, omit_defaults=True):
    """`files` and `adapters` map a relative file name to the digest of an uploaded blob.

    `license` is raw because a wrong type has an error of its own, which comes late.
    """

    stream: bool = True
    from_: str = field(name="from", default="")
    files: dict[str, str] | None = None
    adapters: dict[str, str] = field(default_factory=dict)
    draft_files: dict[str, str] = field(default_factory=dict)
    draft_quantize: str = ""
    template: str = ""
    license: Any = None
    system: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    quantize: str = ""
    quantization: str = ""
    renderer: str = ""
    parser: str = ""
    requires: str = ""
    info: dict[str, Any] = field(default_factory=dict)
    remote_host: str = ""


class CopyRequest(Struct, kw_only=True, omit_defaults=True):
    source: str = ""
    destination: str = ""


class DeleteRequest(NamedRequest, kw_only=True, omit_defaults=True):
    """A JSON body on a DELETE."""


class PullRequest(NamedRequest, kw_only=True, omit_defaults=True):
    stream: bool = True
    insecure: bool = False
    username: str = ""
    password: str = ""


class PushRequest(PullRequest, kw_only=True, omit_defaults=True):
    """As a pull."""


class Progress(Struct, kw_only=True, omit_defaults=True):
    """A line of create, pull or push. The last one says `success`. Sizes are bytes."""

    status: str
    digest: str = ""
    total: int = 0
    completed: int = 0


class Details(Struct, kw_only=True, omit_defaults=False):
    """Always these six. `families` is null when there is none."""

    parent_model: str = ""
    format: str = ""
    family: str = ""
    families: list[str] | None = None
    parameter_size: str = ""
    quantization_level: str = ""


class ListedDetails(Struct, kw_only=True, omit_defaults=True):
    """`Details` in tags, with two more where they are known."""

    parent_model: str
    format: str
    family: str
    families: list[str] | None
    parameter_size: str
    quantization_level: str
    context_length: int = 0
    embedding_length: int = 0


class ListedModel(Struct, kw_only=True, omit_defaults=True):
    """An entry of `/api/tags`. `digest` is 64 bare hex digits; `modified_at` has the local offset."""

    name: str
    model: str
    remote_model: str = ""
    remote_host: str = ""
    modified_at: datetime
    size: int
    digest: str
    details: ListedDetails
    capabilities: list[str] = field(default_factory=list)


class ListResponse(Struct, kw_only=True):
    """`/api/tags`: newest first."""

    models: list[ListedModel]


class ShownMessage(Struct, kw_only=True):
    role: str
    content: str


class ShownTensor(Struct, kw_only=True):
    """`shape` as the file writes it."""

    name: str
    type: str
    shape: list[int]


class ShowResponse(Struct, kw_only=True, omit_defaults=True):
    """`/api/show`. `model_info` is always there, whole numbers stay whole."""

    license: str = ""
    modelfile: str = ""
    parameters: str = ""
    template: str = ""
    system: str = ""
    details: Details
    messages: list[ShownMessage] = field(default_factory=list)
    remote_model: str = ""
    remote_host: str = ""
    model_info: dict[str, Any]
    projector_info: dict[str, Any] = field(default_factory=dict)
    tensors: list[ShownTensor] = field(default_factory=list)
    capabilities: list[str] = field(default_factory=list)
    modified_at: datetime
    requires: str = ""


class RunningModel(Struct, kw_only=True):
    """An entry of `/api/ps`. Bytes; `size_vram` equals `size` on unified memory."""

    name: str
    model: str
    size: int
    digest: str
    details: Details
    expires_at: datetime
    size_vram: int
    context_length: int = 0


class RunningResponse(Struct, kw_only=True):
    """`/api/ps`: longest remaining time first."""

    models: list[RunningModel]
