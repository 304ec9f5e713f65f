"""Models as the API tells of them: entries of tags, answers of show."""

import json
import re
from collections.abc import Sequence
from time import monotonic
from typing import Any

from msgspec.structs import asdict

from converters.inventory import Inventory
from mlx_ollama.api.models import (
    Details,
    ListedDetails,
    ListedModel,
    ListResponse,
    ShownMessage,
    ShownTensor,
    ShowRequest,
    ShowResponse,
)
from mlx_ollama.errors import CorruptData, InvalidRequest
from mlx_ollama.prompt.go_strconv import format_float, quote
from mlx_ollama.store.capabilities import capabilities_of
from mlx_ollama.store.humanise import human_number
from mlx_ollama.store.inspection import Inspection, read_inventory
from mlx_ollama.store.model import DEFAULT_TEMPLATE, Model
from mlx_ollama.store.modelfile import Command, print_modelfile
from mlx_ollama.store.names import ModelName
from mlx_ollama.store.reference import parse_reference
from mlx_ollama.store.store import Store
from mlx_ollama.store.tensor_blobs import read_chat_template, tensor_info, tensor_list

PATIENCE_SECONDS = (
    0.5  # of a listing; models that were not looked at by then are told without lengths
)
_HIDDEN = ("general.name", "tokenizer.chat_template")
_BLOCK = re.compile(r"blk\.(\d+)\.")


def details(model: Model, inspection: Inspection | None = None) -> Details:
    """Contract 3.12, as show has it; for ps clear `parent_model`.

    The configurations of Ollama's own tensor models are bare: an inspection fills the gaps.
    """
    config = model.config
    seen = inspection if model.tensors else None
    return Details(
        parent_model=model.parent,
        format=config.model_format,
        family=config.model_family or (seen.architecture if seen else ""),
        families=config.model_families or None,
        parameter_size=config.model_type or (human_number(seen.parameter_count) if seen else ""),
        quantization_level=config.file_type or (seen.file_type if seen else ""),
    )


def capabilities(store: Store, model: Model) -> list[str]:
    """Contract 6.2, in derivation order. Blocks when the model's weights were never looked at."""
    return capabilities_of(model, None if model.is_remote else store.inspections.of(model))


def tags(store: Store) -> ListResponse:
    """Contract 12. Blocks: < 50 ms for 200 names once they are known, else at most about `PATIENCE_SECONDS`."""
    deadline = monotonic() + PATIENCE_SECONDS
    listed: list[ListedModel] = []
    unknown: list[Model] = []
    for model in store.list():
        inspection = None if model.is_remote else store.inspections.known(model)
        if inspection is None and not model.is_remote:
            if monotonic() < deadline:
                inspection = _inspection_or_none(store, model)
            else:
                unknown.append(model)
        listed.append(_listed(model, inspection))
    store.inspections.later(unknown)
    return ListResponse(models=listed)


def _listed(model: Model, inspection: Inspection | None) -> ListedModel:
    config = model.config
    name = model.short_name
    return ListedModel(
        name=name,
        model=name,
        remote_model=config.remote_model,
        remote_host=config.remote_host,
        modified_at=model.modified_at,
        size=model.size,
        digest=model.digest,
        details=ListedDetails(
            **asdict(details(model, inspection)),
            context_length=config.context_length
            or (inspection.context_length if inspection else 0),
            embedding_length=config.embedding_length
            or (inspection.embedding_length if inspection else 0),
        ),
        capabilities=capabilities_of(model, inspection),
    )


def _inspection_or_none(store: Store, model: Model) -> Inspection | None:
    """None for damaged weights, which show tells about."""
    try:
        return store.inspections.of(model)
    except CorruptData:
        return None


def show(store: Store, request: ShowRequest, *, user_agent: str = "") -> ShowResponse:
    """Contract 14, errors included (`InvalidRequest`, `InvalidName`, `NotFound`). Blocks: reads headers."""
    if not request.target.strip():
        raise InvalidRequest("model is required")
    name = ModelName.parse(parse_reference(request.target).base)
    model = store.resolve(name)
    response = (
        _of_tensors(store, model, request) if model.tensors else _of_gguf(store, model, request)
    )
    if user_agent.startswith("GitHubCopilotChat/"):
        response.model_info["general.basename"] = request.target
    return response


def _of_gguf(store: Store, model: Model, request: ShowRequest) -> ShowResponse:
    weights = read_inventory(model.weights) if model.weights else None
    projectors = [read_inventory([path]) for path in model.projectors]
    response = _answer(store, model, request, _chat_template(weights))
    if weights is not None:
        response.model_info = metadata_info(weights, request.verbose)
        response.tensors = shown_tensors(weights)
    if projectors:
        response.projector_info = metadata_info(projectors[0], request.verbose)
    return response


def _chat_template(weights: Inventory | None) -> str | None:
    text = weights.metadata.get("tokenizer.chat_template") if weights else None
    return plain(text, verbose=True) if isinstance(text, str) else None


def _of_tensors(store: Store, model: Model, request: ShowRequest) -> ShowResponse:
    inspection = store.inspections.of(model)
    response = _answer(store, model, request, read_chat_template(model))
    response.details = details(model, inspection)
    response.model_info = tensor_info(model, inspection)
    if request.verbose:
        response.tensors = tensor_list(model)
    return response


def _answer(
    store: Store, model: Model, request: ShowRequest, chat_template: str | None
) -> ShowResponse:
    """What the layers say; the weights' part is still missing."""
    template = effective_template(model, chat_template)
    return ShowResponse(
        license="\n".join(model.licenses),
        modelfile=modelfile_text(model, request, None if template == chat_template else template),
        parameters=parameters_text(model.parameters),
        template=template,
        system=request.system or model.system,
        details=details(model),
        messages=[ShownMessage(role=m.role, content=m.content) for m in model.messages],
        remote_model=model.config.remote_model,
        remote_host=model.config.remote_host,
        model_info={},
        capabilities=capabilities(store, model),
        modified_at=model.modified_at,
        requires=model.config.requires,
    )


def effective_template(model: Model, chat_template: str | None) -> str:
    """The one that is used: the model's own layer, else its Jinja chat template."""
    if model.template is not None:
        return model.template
    return chat_template or DEFAULT_TEMPLATE


def metadata_info(source: Inventory, verbose: bool) -> dict[str, Any]:
    """A GGUF's metadata in the order of its keys; arrays are null unless `verbose`."""
    info: dict[str, Any] = {
        key: plain(value, verbose) for key, value in source.metadata.items() if key not in _HIDDEN
    }
    info["general.parameter_count"] = source.parameter_count
    return dict(sorted(info.items()))


def plain(value: Any, verbose: bool) -> Any:
    """As JSON prints it: whole floats without a point, broken bytes replaced."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if isinstance(value, float):
        return _plain_float(value)
    if isinstance(value, Sequence):
        return [plain(item, verbose) for item in value] if verbose else None
    return value


def _plain_float(value: float) -> float | int | None:
    """JSON has no infinity."""
    if value != value or value in (float("inf"), float("-inf")):
        return None
    return int(value) if value.is_integer() and abs(value) < 1e21 else value


def shown_tensors(source: Inventory) -> list[ShownTensor]:
    """In llama.cpp's order: those outside the blocks, then block by block, by name."""
    ordered = sorted(source.tensors, key=lambda tensor: (_block(tensor.name), tensor.name))
    return [ShownTensor(name=t.name, type=t.type, shape=list(t.shape)) for t in ordered]


def _block(name: str) -> int:
    match = _BLOCK.match(name)
    return int(match[1]) if match else -1


def parameters_text(parameters: dict[str, Any]) -> str:
    """A line a value: the name in 30 columns, the value as Go's `%#v` prints it."""
    lines = [f"{name:<30} {_go_syntax(value)}" for name, value in _one_by_one(parameters)]
    return "\n".join(lines)


def _one_by_one(parameters: dict[str, Any]) -> list[tuple[str, Any]]:
    """Lists taken apart, names in order."""
    return [
        (name, item)
        for name, value in sorted(parameters.items())
        for item in (value if isinstance(value, list) else [value])
    ]


def _go_syntax(value: Any) -> str:
    """What no option is, such as an object, as the JSON that it was."""
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "<nil>"}[value]
    if isinstance(value, float) or (type(value) is int and abs(value) < 2**64):
        return format_float(float(value))
    return json.dumps(value, separators=(",", ":"))


def _written(value: Any) -> str:
    """As a PARAMETER line can be read again: whole numbers without an exponent."""
    if isinstance(value, str):
        return value
    is_whole = isinstance(value, float) and value.is_integer()
    return str(int(value)) if is_whole or type(value) is int else _go_syntax(value)


def modelfile_text(model: Model, request: ShowRequest, template: str | None) -> str:
    """Contract 14.3. `template` None: the weights bring their own, which a TEMPLATE line would replace."""
    head = '# Modelfile generated by "ollama show"\n'
    if not model.tensors:
        head += (
            "# To build a new Modelfile based on this, replace FROM with:\n"
            f"# FROM {model.short_name}\n\n"
        )
    return head + print_modelfile(_commands(model, request, template))


def _commands(model: Model, request: ShowRequest, template: str | None) -> list[Command]:
    commands = [Command("model", source) for source in _sources(model)]
    commands += [Command("adapter", str(path)) for path in model.adapters]
    if template is not None:
        commands.append(Command("template", template))
    texts = {
        "system": request.system or model.system,
        "renderer": model.config.renderer,
        "parser": model.config.parser,
    }
    commands += [Command(name, text) for name, text in texts.items() if text]
    parameters = model.parameters | request.options
    commands += [Command(name, _written(value)) for name, value in _one_by_one(parameters)]
    commands += [Command("license", text) for text in model.licenses]
    commands += [Command("message", f"{m.role}: {m.content}") for m in model.messages]
    return commands


def _sources(model: Model) -> list[str]:
    """What FROM lines name: blobs, or for tensors the model itself."""
    if model.tensors or not model.weights:
        return [model.short_name]
    return [str(path) for path in (*model.weights, *model.projectors)]
