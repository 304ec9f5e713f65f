"""A GGUF LoRA adapter as what each linear layer of the MLX model gets: `scale * up @ down` beside its weight."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters import inventory
from converters.architectures import require_supported
from converters.architectures.family import Config, Family, Rule
from converters.errors import InvalidSource, Unsupported
from converters.gguf.dialect import normalised
from converters.inventory import Inventory, Tensor
from converters.plan import load_family, targets
from converters.stream import SourceFiles

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class AdapterPart:
    """`down` (rank, in), `up` (out, rank), for the linear layer at the path `module`."""

    module: str
    down: Floats
    up: Floats
    scale: float


def read(path: Path, config: Config) -> Iterator[AdapterPart]:
    """The parts of an adapter for the model of `config`. Raises InvalidSource and Unsupported."""
    found = inventory.read(path)
    alpha = _alpha(found)
    require_supported(found.architecture)
    found = normalised(found)
    family = load_family(found.architecture)
    with SourceFiles() as files:
        for stem, (a, b) in _pairs(found).items():
            module, rule = _target(replace(a, name=stem), family)
            down, up = _floats(a, files), _floats(b, files)
            if down.ndim != 2 or up.ndim != 2 or down.shape[0] != up.shape[1]:
                raise InvalidSource(f'the adapter\'s "{stem}" is not of low rank')
            if rule.rows is not None:
                up = up[rule.rows(config, up.shape[0])]
            if rule.columns is not None:
                down = down[:, rule.columns(config, down.shape[1])]
            yield AdapterPart(module=module, down=down, up=up, scale=alpha / down.shape[0])


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
            raise Unsupported(f'tensor "{tensor.name}" is not supported yet')
        halves.setdefault(stem, {})[half] = tensor
    if any(len(pair) != 2 for pair in halves.values()):
        raise InvalidSource("the adapter lacks one half of a layer")
    return {stem: (pair["lora_a"], pair["lora_b"]) for stem, pair in halves.items()}


def _target(tensor: Tensor, family: Family) -> tuple[str, Rule]:
    """The one module that a tensor becomes; those that are joined or taken apart have no low-rank form."""
    found = targets(tensor, family)
    name, rule = found[0]
    plain = not (rule.place or rule.slice_rows or rule.values or rule.shape or rule.bare)
    if len(found) > 1 or not plain:
        raise Unsupported(f'an adapter for tensor "{tensor.name}" is not supported yet')
    return name.removesuffix(".weight"), rule


def _floats(tensor: Tensor, files: SourceFiles) -> Floats:
    """A float tensor, row-major."""
    raw = np.empty(tensor.size, np.uint8)
    files.read(tensor, 0, raw)
    shape = tuple(reversed(tensor.shape))
    match tensor.type:
        case "F32":
            return raw.view("<f4").reshape(shape)
        case "F16":
            return raw.view("<f2").astype(np.float32).reshape(shape)
        case "BF16":
            wide = raw.view("<u2").astype(np.uint32) << 16
            return wide.view(np.float32).reshape(shape)
        case other:
            raise Unsupported(f"an adapter of type {other} is not supported yet")
