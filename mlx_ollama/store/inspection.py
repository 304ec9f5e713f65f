"""What a model's weights say about themselves, read from their headers."""

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct, field

from converters import inventory
from converters.errors import SourceError
from converters.inventory import Inventory
from mlx_ollama.errors import CorruptData

VERSION = 1  # raised whenever the same weights would be described differently


class Inspection(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`own` is what the weights alone can do; `by_chat_template` what their Jinja template adds.

    Lengths are tokens and floats; 0 where unknown.
    """

    version: int = VERSION
    architecture: str
    parameter_count: int
    file_type: str
    context_length: int = 0
    embedding_length: int = 0
    own: list[str] = field(default_factory=list)
    by_chat_template: list[str] = field(default_factory=list)


def read_inventory(paths: Sequence[Path]) -> Inventory:
    """A stored model's inventory; `CorruptData` for what was good when it was created."""
    try:
        return inventory.read(list(paths))
    except (SourceError, OSError) as error:
        raise CorruptData(f"model data is corrupted: {error}") from error


def inspect_gguf(weights: Inventory, projectors: list[Inventory]) -> Inspection:
    """What a GGUF and its projectors say."""
    metadata, prefix = weights.metadata, weights.architecture
    return Inspection(
        architecture=prefix,
        parameter_count=weights.parameter_count,
        file_type=weights.file_type,
        context_length=_natural(metadata.get(f"{prefix}.context_length")),
        embedding_length=_natural(metadata.get(f"{prefix}.embedding_length")),
        own=_own_capabilities(weights, projectors),
        by_chat_template=chat_template_capabilities(metadata.get("tokenizer.chat_template")),
    )


def _own_capabilities(weights: Inventory, projectors: list[Inventory]) -> list[str]:
    prefix = weights.architecture
    own = ["embedding" if f"{prefix}.pooling_type" in weights.metadata else "completion"]
    if f"{prefix}.vision.block_count" in weights.metadata or projectors:
        own.append("vision")
    sources = [
        (weights, f"{prefix}.audio.block_count"),
        *((p, "clip.has_audio_encoder") for p in projectors),
    ]
    if any(source.metadata.get(key) for source, key in sources):
        own.append("audio")
    return own


def chat_template_capabilities(template: object) -> list[str]:
    """What a Jinja chat template adds (contract 6.2)."""
    text = template if isinstance(template, str) else ""
    found: list[str] = []
    if "tools" in text or "tool_call" in text:
        found.append("tools")
    if "<think>" in text and "</think>" in text:
        found.append("thinking")
    return found


def _natural(value: object) -> int:
    return value if type(value) is int and value > 0 else 0
