"""llama.cpp's adapters (convert_lora_to_gguf.py): `<tensor>.lora_a` (rank, in), `.lora_b` (out, rank), rows as the
base's tensor has them, and one alpha."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from converters import inventory
from converters.adapters.part import (
    AdapterPart,
    Floats,
    check_halves,
    check_rank,
    check_type,
    check_values,
)
from converters.architectures import require_supported
from converters.architectures.family import Config, Family, Rule
from converters.errors import InvalidSource, Unsupported
from converters.gguf.dialect import normalised
from converters.inventory import Inventory, Tensor
from converters.plan import load_family, targets
from converters.rounding import from_stored
from converters.stream import SourceFiles


def read(path: Path, config: Config) -> Iterator[AdapterPart]:
    """Raises InvalidSource and Unsupported."""
    found = inventory.read(path)
    alpha = _alpha(found)
    require_supported(found.architecture)
    _check_architecture(found.architecture, config)
    found = normalised(found)
    family = load_family(found.architecture)
    with SourceFiles() as files:
        for stem, (a, b) in _pairs(found).items():
            module, rule = _target(replace(a, name=stem), family)
            down, up = _floats(a, files), _floats(b, files)
            check_rank(stem, down.shape, up.shape)
            scale = alpha / down.shape[0]
            up, down = _in_order(stem, down, up, rule, config)
            yield check_values(AdapterPart(module=module, down=down, up=up, scale=scale))


# What a checkpoint, or mlx-lm, calls an architecture that llama.cpp has another word for.
_WORDS = {
    "cohere": ("commandr",),
    "deepseekv2": ("deepseek2",),
    "deepseekv3": ("deepseek2",),
    "granitemoehybrid": ("granitehybrid",),
    "hunyuanv1dense": ("hunyuandense",),
    "ministral3": ("mistral3",),
    "mistral": ("llama", "mistral3"),
    "mixtral": ("llama",),
    "olmo3": ("olmo2",),
    "phi": ("phi2",),
    "qwen25vl": ("qwen2vl", "qwen25vl"),
}


def _check_architecture(architecture: str, config: Config) -> None:
    """Tensors are called alike in most architectures, and their rows are not in the same order."""
    model_type = str(config.get("model_type", ""))
    plain = _plain(model_type)
    if model_type and _plain(architecture) not in _WORDS.get(plain, (plain,)):
        name = architecture[:64]
        raise InvalidSource(
            f'the adapter is for architecture "{name}", the model is "{model_type}"'
        )


def _plain(name: str) -> str:
    return name.replace("-", "").replace("_", "").removesuffix("text")


def _in_order(
    stem: str, down: Floats, up: Floats, rule: Rule, config: Config
) -> tuple[Floats, Floats]:
    """`up` and `down` with rows and columns as the MLX model's."""
    try:
        if rule.rows is not None:
            up = up[rule.rows(config, up.shape[0])]
        if rule.columns is not None:
            down = down[:, rule.columns(config, down.shape[1])]
    except (InvalidSource, KeyError, TypeError, ValueError, IndexError):
        text = f"the adapter's \"{stem}\" has another shape than the model's"
        raise InvalidSource(text) from None
    return up, down


def _alpha(found: Inventory) -> float:
    metadata = found.metadata
    if metadata.get("general.type") != "adapter" or metadata.get("adapter.type") != "lora":
        raise InvalidSource("the file is not a LoRA adapter")
    alpha: Any = metadata.get("adapter.lora.alpha")
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 < alpha < 1e6:
        raise InvalidSource('key "adapter.lora.alpha" is missing or no positive number')
    return float(alpha)


def _pairs(found: Inventory) -> dict[str, tuple[Tensor, Tensor]]:
    """By the name of the tensor that is adapted: what goes down, what goes up."""
    halves: dict[str, dict[str, Tensor]] = {}
    for tensor in found.tensors:
        stem, _, half = tensor.name.rpartition(".")
        if half not in ("lora_a", "lora_b"):
            raise Unsupported(f'tensor "{tensor.name}" of the adapter is not supported yet')
        check_type(tensor.name, tensor.type)
        halves.setdefault(stem, {})[half] = tensor
    check_halves(halves)
    return {stem: (pair["lora_a"], pair["lora_b"]) for stem, pair in halves.items()}


def _target(tensor: Tensor, family: Family) -> tuple[str, Rule]:
    """The one module that a tensor becomes; those that are joined or taken apart have no low-rank form."""
    found = targets(tensor, family)
    name, rule = found[0]
    plain = not (rule.place or rule.slice_rows or rule.values or rule.shape or rule.bare)
    if len(found) > 1 or not plain or not name.endswith(".weight"):
        raise Unsupported(f'an adapter for tensor "{tensor.name}" is not supported yet')
    return name.removesuffix(".weight"), rule


def _floats(tensor: Tensor, files: SourceFiles) -> Floats:
    raw = np.empty(tensor.size, np.uint8)
    files.read(tensor, 0, raw)
    return np.asarray(from_stored(raw, tensor.type), np.float32).reshape(tensor.shape[::-1])
