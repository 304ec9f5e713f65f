"""What a model can do (contract 6.2), from its configuration, weights, template and parser."""

from collections.abc import Iterable
from functools import lru_cache

from mlx_ollama.parsers.output import parser_info
from mlx_ollama.prompt.conversation import TemplateError
from mlx_ollama.prompt.go_template import GoTemplate
from mlx_ollama.store.inspection import Inspection
from mlx_ollama.store.model import Model


def capabilities_of(model: Model, inspection: Inspection | None) -> list[str]:
    """In derivation order, each once. Without an inspection only what the layers themselves say."""
    found = list(model.config.capabilities)
    if inspection is not None:
        found += inspection.own
    found += _by_template(model, inspection)
    found += _by_parser(model)
    return list(dict.fromkeys(found))


def _by_template(model: Model, inspection: Inspection | None) -> Iterable[str]:
    if model.template is not None:
        return template_capabilities(model.template)
    if inspection is None or model.config.renderer:
        return ()
    return inspection.by_chat_template


@lru_cache(maxsize=512)
def template_capabilities(template: str) -> list[str]:
    """What a Go template has room for; none when it is not one."""
    try:
        return GoTemplate.parse(template).capabilities
    except TemplateError:
        return []


def _by_parser(model: Model) -> list[str]:
    found: list[str] = []
    info = parser_info(model.config.parser) if model.config.parser else None
    if info is not None and info.has_tools:
        found.append("tools")
    if info is not None and info.has_thinking:
        found.append("thinking")
    if model.config.model_family in ("gptoss", "gpt-oss"):
        found.append("thinking")
    return found
