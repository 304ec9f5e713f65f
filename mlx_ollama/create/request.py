"""A Modelfile's commands to a create request."""

import re

from mlx_ollama.api.messages import Message
from mlx_ollama.api.models import CreateRequest
from mlx_ollama.create.modelfile import ModelfileError
from mlx_ollama.create.parameters import DEPRECATED, parse_parameters
from mlx_ollama.store.modelfile import Command

_NUMBER = r"(0|[1-9][0-9]*)"
_LABEL = r"[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*"
_VERSION = re.compile(rf"{_NUMBER}(\.{_NUMBER}(\.{_NUMBER}(-{_LABEL})?(\+{_LABEL})?)?)?")


def request_of(commands: list[Command]) -> CreateRequest:
    """The request without files: FROM is a model's name, ADAPTER and DRAFT are left to who has the files.

    `ModelfileError`.
    """
    request = CreateRequest()
    texts: dict[str, list[str]] = {}
    licenses: list[str] = []
    for name, value in commands:
        match name:
            case "model":
                request.from_ = value
            case "template" | "system" | "renderer" | "parser":
                setattr(request, name, value)
            case "license":
                licenses.append(value)
            case "requires":
                request.requires = _version(value)
            case "message":
                role, _, content = value.partition(": ")
                request.messages.append(Message(role=role, content=content))
            case "adapter" | "draft":
                pass
            case _ if name not in DEPRECATED:
                texts.setdefault(name, []).append(value)
            case _:
                pass
    request.parameters = parse_parameters(texts)
    request.license = licenses or None
    return request


def _version(text: str) -> str:
    version = text.removeprefix("v")
    if not _VERSION.fullmatch(version):
        raise ModelfileError("requires must be a valid semver (e.g. 0.14.0)")
    return version
