"""What each output tensor is made of. Pure: shapes and names only, no weight is read."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from math import prod
from typing import Any

from converters.architectures import require_supported
from converters.architectures.family import (
    Array,
    Config,
    Family,
    Rule,
    Source,
    Values,
    num_rows,
)
from converters.errors import Unsupported
from converters.gguf.blocks.format import Quantization
from converters.gguf.blocks.formats import FLOATS, FORMATS
from converters.gguf.cursor import invalid
from converters.inventory import Inventory, Tensor

_BLOCK = re.compile(r"blk\.(\d+)\.(.+)")
_LEAVES = ("weight", "bias")


@dataclass(frozen=True, kw_only=True)
class Output:
    """One module parameter. `shape` is row-major: (rows, columns), or (experts, rows, columns), or (n,).

    `becomes` None: floats of the conversion's dtype (float32 if `wide`). `rows`, `columns`: for each output
    row (or column) the index of the source's.
    """

    name: str
    source: Tensor
    shape: tuple[int, ...]
    becomes: Quantization | None
    rows: Array | None = None
    columns: Array | None = None
    values: Values | None = None
    wide: bool = False

    @property
    def module(self) -> str:
        return self.name.removesuffix(".weight")


@dataclass(frozen=True, kw_only=True)
class Plan:
    inventory: Inventory
    config: Config  # config.json
    outputs: tuple[Output, ...]  # in the source's order: one pass over the file


def plan(inventory: Inventory, *, compact: bool) -> Plan:
    """`compact`: block formats that fit none of MLX's are requantised; otherwise they become floats.

    Raises Unsupported and InvalidSource.
    """
    require_supported(inventory.architecture)
    family = load_family(inventory.architecture)
    source = Source(inventory)
    config = family.configure(source)
    _check_layers(source)
    outputs = tuple(
        _output(tensor, family, config, compact)
        for tensor in inventory.tensors
        if tensor.name not in family.unused
    )
    _check_names(outputs)
    return Plan(inventory=inventory, config=config | quantization_config(outputs), outputs=outputs)


def load_family(architecture: str) -> Family:
    return import_module(f"converters.architectures.{architecture.replace('-', '_')}").FAMILY


def _check_layers(source: Source) -> None:
    """`block_count` sizes the model: it must be what the file has, before anything is built by it."""
    found = {int(m[1]) for t in source.inventory.tensors if (m := _BLOCK.match(t.name))}
    if found != set(range(source.num_layers)):
        invalid(f'key "{source.h.architecture}.block_count" differs from the layers in the file')


def _check_names(outputs: tuple[Output, ...]) -> None:
    repeated = [n for n, times in Counter(o.name for o in outputs).items() if times > 1]
    if repeated:
        invalid(f'two tensors become "{repeated[0]}"')


def _output(tensor: Tensor, family: Family, config: Config, compact: bool) -> Output:
    name, rule = _target(tensor, family)
    becomes = _becomes(tensor, rule, compact)
    return Output(
        name=name,
        source=tensor,
        shape=tuple(reversed(tensor.shape)),
        becomes=becomes,
        rows=rule.rows(config, num_rows(tensor)) if rule.rows else None,
        columns=rule.columns(config, tensor.shape[0]) if rule.columns else None,
        values=rule.values or _norm_shift(tensor, family),
        wide=rule.wide,
    )


def _target(tensor: Tensor, family: Family) -> tuple[str, Rule]:
    """The output's name and its rule."""
    stem, _, leaf = tensor.name.rpartition(".")
    if leaf not in _LEAVES:
        stem, leaf = tensor.name, "weight"
    block = _BLOCK.fullmatch(stem)
    known: Mapping[str, str | Rule] = family.blocks if block else family.outer
    found = known.get(block[2] if block else stem)
    if found is None:
        raise Unsupported(f'tensor "{tensor.name}" is not supported yet')
    rule = found if isinstance(found, Rule) else Rule(to=found)
    path = f"{family.layers}.{block[1]}.{rule.to}" if block else rule.to
    return (path if rule.bare else f"{path}.{leaf}"), rule


def _norm_shift(tensor: Tensor, family: Family) -> Values | None:
    shift = family.norm_shift
    if not shift or not tensor.name.endswith("norm.weight"):
        return None
    return lambda array: array + shift


def _becomes(tensor: Tensor, rule: Rule, compact: bool) -> Quantization | None:
    if tensor.type in FLOATS:
        return None
    found = FORMATS.get(tensor.type)
    if found is None:
        text = f'tensor "{tensor.name}" has type {tensor.type}, which is not supported yet'
        raise Unsupported(text)
    is_matrix = len(tensor.shape) > 1 and rule.values is None
    return found.becomes if is_matrix and (found.is_exact or compact) else None


def quantization_config(outputs: tuple[Output, ...]) -> dict[str, Any]:
    """mlx-lm's `quantization`: the commonest kind, and each module that differs from it."""
    kinds = {o.module: o.becomes for o in outputs if o.becomes is not None}
    if not kinds:
        return {}
    usual = Counter(kinds.values()).most_common(1)[0][0]
    others = {module: kind.as_config() for module, kind in kinds.items() if kind != usual}
    return {"quantization": usual.as_config() | others}


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """One array to be stored. `dtype` in the words of the Safetensors format."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return prod(self.shape) * ITEM_BYTES[self.dtype]


ITEM_BYTES = {"F32": 4, "F16": 2, "BF16": 2, "U32": 4, "U8": 1}


def array_specs(output: Output, dtype: str) -> list[ArraySpec]:
    """The arrays of an output when float ones are stored as `dtype` (F32, F16 or BF16)."""
    kind = output.becomes
    if kind is None:
        return [ArraySpec(output.name, "F32" if output.wide else dtype, output.shape)]
    *front, columns = output.shape
    groups = (*front, columns // kind.group_size)
    scale_type = dtype if kind.has_biases else "U8"
    specs = [
        ArraySpec(output.name, "U32", (*front, columns * kind.bits // 32)),
        ArraySpec(f"{output.module}.scales", scale_type, groups),
    ]
    return (
        [*specs, ArraySpec(f"{output.module}.biases", dtype, groups)] if kind.has_biases else specs
    )
