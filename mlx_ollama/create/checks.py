"""What of a create request can be refused by looking at the request alone."""

import unicodedata
from typing import Any

from msgspec import Struct

from mlx_ollama.api.models import CreateRequest
from mlx_ollama.create.quantization import wanted
from mlx_ollama.errors import InvalidDigest, InvalidRequest
from mlx_ollama.prompt.conversation import TemplateError
from mlx_ollama.prompt.go_template import GoTemplate
from mlx_ollama.store.names import ModelName
from mlx_ollama.store.reference import parse_reference

MAX_FILE_NAME = 255
_DEVICES = ("con", "prn", "aux", "nul")
_TEXTS = ("model_family", "base_name", "quantization_level", "parameter_size")
_NUMBERS = ("context_length", "embedding_length")


class Wanted(Struct, frozen=True, kw_only=True):
    """A request that passed: `base` is None when it has files. Its `info` is looked at once the base is here."""

    request: CreateRequest
    name: ModelName
    base: ModelName | None
    licenses: list[str]
    quantize: str  # an accepted name in upper case, or empty


def examine(request: CreateRequest) -> Wanted:
    """All that the request alone decides; `InvalidRequest`, `InvalidName`, `InvalidDigest`."""
    name, base = check(request), base_of(request)
    if request.draft_files:
        raise InvalidRequest("draft models are not supported yet")
    check_template(request.template)
    return Wanted(
        request=request,
        name=name,
        base=base,
        licenses=licenses_of(request.license),
        quantize=wanted(request.quantize or request.quantization),
    )


def check(request: CreateRequest) -> ModelName:
    """What is answered as a plain error before any stream (contract 18.2); the target's name."""
    for files in (request.files or {}, request.draft_files):
        check_file_names(files)
        if not all(files.values()):
            raise InvalidDigest
    if request.draft_quantize and not request.draft_files:
        raise InvalidRequest("--draft-quantize requires a DRAFT model")
    return ModelName.parse(request.target)


def check_file_names(files: dict[str, str]) -> None:
    """Plain relative paths, no two the same to a file system that folds case or accents."""
    folded = {unicodedata.normalize("NFC", name).casefold() for name in files}
    if len(folded) < len(files) or not all(is_relative_path(name) for name in files):
        raise InvalidRequest("file path must be relative")


def is_relative_path(text: str) -> bool:
    return (
        text.isprintable()
        and "\\" not in text
        and all(
            part not in ("", ".", "..")
            and len(part.encode()) <= MAX_FILE_NAME
            and part.partition(".")[0].lower() not in _DEVICES
            for part in text.split("/")
        )
    )


def base_of(request: CreateRequest) -> ModelName | None:
    """The model that `from` names; None when the request has files. `InvalidRequest` when it has neither."""
    if not request.from_:
        if request.files is None:
            raise InvalidRequest("neither 'from' or 'files' was specified")
        return None
    reference = parse_reference(request.from_)
    if reference.source == "cloud" or request.remote_host:
        raise InvalidRequest("bad remote")
    return ModelName.parse(reference.base)


def check_template(template: str) -> None:
    if template:
        try:
            GoTemplate.parse(template)
        except TemplateError as error:
            raise InvalidRequest(f"template error: {error}") from error


def licenses_of(value: Any) -> list[str]:
    """The licences to append: none, a text or a list of texts."""
    if value is None:
        return []
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list):
        raise InvalidRequest(
            f"json: cannot unmarshal {_kind(value)} into Go value of type []string"
        )
    for text in texts:
        if not isinstance(text, str):
            raise InvalidRequest(
                f"json: cannot unmarshal {_kind(text)} into Go value of type string"
            )
    return [text for text in texts if text]


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    return (
        "number" if isinstance(value, int | float) else {dict: "object"}.get(type(value), "array")
    )


def config_of(info: dict[str, Any]) -> dict[str, Any]:
    """The configuration keys that the request's `info` sets."""
    config: dict[str, Any] = {}
    keys = {"quantization_level": "file_type", "parameter_size": "model_type"}
    for name in _TEXTS:
        value = info.get(name)
        if value is not None and not isinstance(value, str):
            raise InvalidRequest(f'info field "{name}" must be a string')
        if value:
            config[keys.get(name, name)] = value
    if "model_family" in config:
        config["model_families"] = [config["model_family"]]
    for name in _NUMBERS:
        value = _natural(name, info.get(name))
        if value:
            config[name] = value
    capabilities = info.get("capabilities")
    if capabilities is not None:
        config["capabilities"] = _texts("capabilities", capabilities)
    return config


def _texts(name: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidRequest(f'info field "{name}" must be a list of strings')
    return value


def _natural(name: str, value: Any) -> int:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidRequest(f'info field "{name}" must be a number')
    if value < 0 or value != int(value):
        raise InvalidRequest(f'info field "{name}" must be a non-negative integer')
    return int(value)
