"""What each output tensor is made of. Pure: shapes and names only, no weight is read."""

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from importlib import import_module
from math import prod
from typing import Any

from converters import projectors as kinds
from converters.architectures import require_supported
from converters.architectures.family import (
    Array,
    Config,
    Family,
    Rule,
    Source,
    Values,
)
from converters.checkpoints import limits
from converters.errors import Unsupported
from converters.gguf.blocks.format import Quantization
from converters.gguf.blocks.formats import FLOATS, FORMATS
from converters.gguf.cursor import invalid
from converters.gguf.dialect import normalised
from converters.gguf.types import BLOCKS
from converters.inventory import Inventory, Tensor
from converters.projectors import view
from converters.projectors.projector import Words, vision_source

_BLOCK = re.compile(r"blk\.(\d+)\.(.+)")
PROCESSOR = "preprocessor_config.json"
_LEAVES = ("weight", "bias")


@dataclass(frozen=True, slots=True)
class Part:
    """Consecutive rows of a source tensor, seen as rows whatever its dimensions."""

    tensor: Tensor
    first_row: int
    num_rows: int

    @property
    def row_bytes(self) -> int:
        elements, block_bytes = BLOCKS[self.tensor.type]
        return self.tensor.shape[0] // elements * block_bytes


@dataclass(frozen=True, kw_only=True)
class Output:
    """One module parameter: `parts` one below another.

    `shape` is row-major: (rows, columns), or (experts, rows, columns), or (n,). `becomes` None: floats of the
    conversion's dtype (float32 if `wide`). `rows`, `columns`: for each output row (or column) the index of
    the source's.
    """

    name: str
    parts: tuple[Part, ...]
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
    processor: Config = field(default_factory=dict[str, Any])  # how pictures are prepared


def plan(inventory: Inventory, *, compact: bool, projectors: tuple[Inventory, ...] = ()) -> Plan:
    """`compact`: block formats that fit none of MLX's are requantised; otherwise they become floats.

    `projectors`: the file of a vision tower that is not in the model's own. Raises Unsupported and InvalidSource.
    """
    require_supported(inventory.architecture)
    tower = view.find(inventory, projectors)
    text = _text_plan(inventory, compact)
    return text if tower is None else _seeing(text, tower)


def _seeing(text: Plan, tower: Inventory) -> Plan:
    """The same plan with a vision tower, whose weights are always floats."""
    projector = kinds.load(tower)
    architecture = text.inventory.architecture
    if architecture not in projector.architectures:
        invalid(f'the projector does not go with architecture "{architecture}"')
    source = vision_source(projector.prepare(tower))
    config = projector.family.configure(source)
    outputs = _outputs(source, projector.family, config, compact=False)
    whole = {
        "model_type": projector.model_type,
        **projector.configure(source, Words(text.inventory)),
        **{key: text.config[key] for key in ("quantization",) if key in text.config},
        "text_config": {k: v for k, v in text.config.items() if k != "quantization"},
        "vision_config": config,
    }
    both = replace(
        text.inventory,
        tensors=(*text.inventory.tensors, *source.inventory.tensors),
        files=tuple(dict.fromkeys((*text.inventory.files, *tower.files))),
    )
    return Plan(
        inventory=both,
        config={key: value for key, value in whole.items() if value is not None},
        outputs=(*text.outputs, *(replace(output, becomes=None) for output in outputs)),
        processor=dict(projector.processor(source)),
    )


def _text_plan(inventory: Inventory, compact: bool) -> Plan:
    inventory = normalised(inventory)
    family = load_family(inventory.architecture)
    source = Source(inventory)
    _check_layers(source)
    config = limits.checked(family.configure(source))
    outputs = _outputs(source, family, config, compact)
    return Plan(inventory=inventory, config=config | quantization_config(outputs), outputs=outputs)


def load_family(architecture: str) -> Family:
    return import_module(f"converters.architectures.{architecture.replace('-', '_')}").FAMILY


def _check_layers(source: Source) -> None:
    """`block_count` sizes the model: it must be what the file has, before anything is built by it."""
    found = {int(m[1]) for t in source.inventory.tensors if (m := _BLOCK.match(t.name))}
    drafts = source.h.count("nextn_predict_layers", 0, least=0, maximum=8)
    if found not in (set(range(source.num_layers)), set(range(source.num_layers - drafts))):
        invalid(f'key "{source.h.architecture}.block_count" differs from the layers in the file')


def _outputs(source: Source, family: Family, config: Config, compact: bool) -> tuple[Output, ...]:
    """Tensors that become one output stand together; the place of the first is theirs."""
    members: dict[str, list[tuple[Tensor, Rule]]] = {}
    for tensor in source.inventory.tensors:
        if not family.leaves_out(tensor.name, config):
            for name, rule in targets(tensor, family):
                members.setdefault(name, []).append((tensor, rule))
    return tuple(_output(name, found, family, config, compact) for name, found in members.items())


def targets(tensor: Tensor, family: Family) -> list[tuple[str, Rule]]:
    """The outputs that a tensor goes into (one, but for fused ones that a class keeps apart)."""
    stem, _, leaf = tensor.name.rpartition(".")
    if leaf not in _LEAVES:
        stem, leaf = tensor.name, "weight"
    block = _BLOCK.fullmatch(stem)
    known = family.blocks if block else family.outer
    found = known.get(block[2] if block else stem)
    if found is None:
        raise Unsupported(f'tensor "{tensor.name}" is not supported yet')
    rules = found if isinstance(found, tuple) else (found,)
    made = [rule if isinstance(rule, Rule) else Rule(to=rule) for rule in rules]
    before = f"{family.layers}.{block[1]}." if block else ""
    return [(before + rule.to + ("" if rule.bare else f".{leaf}"), rule) for rule in made]


def _output(
    name: str,
    members: list[tuple[Tensor, Rule]],
    family: Family,
    config: Config,
    compact: bool,
) -> Output:
    members = sorted(members, key=lambda member: member[1].place)
    tensors, rule = [tensor for tensor, _ in members], members[0][1]
    if [r.place for _, r in members] != list(range(len(members))):
        invalid(f'the tensors that become "{name}" are not all there, or there are two of one')
    parts = tuple(_part(tensor, r, config) for tensor, r in members)
    shape = _joined_shape(name, tensors, parts)
    return Output(
        name=name,
        parts=parts,
        shape=rule.shape(shape) if rule.shape else shape,
        becomes=_becomes(tensors, rule, compact),
        rows=rule.rows(config, shape[-2:][0]) if rule.rows else None,
        columns=rule.columns(config, shape[-1]) if rule.columns else None,
        values=rule.values or _norm_shift(tensors[0], family),
        wide=rule.wide,
    )


def _part(tensor: Tensor, rule: Rule, config: Config) -> Part:
    total = prod(tensor.shape[1:])
    if len(tensor.shape) == 1 and rule.slice_rows is None:
        return Part(tensor, 0, 1)
    if rule.slice_rows is None:
        return Part(tensor, 0, total)
    return Part(tensor, *rule.slice_rows(config, total))


def _joined_shape(name: str, tensors: list[Tensor], parts: tuple[Part, ...]) -> tuple[int, ...]:
    shape = tuple(reversed(tensors[0].shape))
    if len(parts) == 1 and parts[0].num_rows == prod(shape[:-1]):
        return shape
    if any(len(t.shape) != 2 or t.shape[0] != shape[-1] for t in tensors):
        invalid(f'the tensors that become "{name}" do not fit together')
    return sum(part.num_rows for part in parts), shape[-1]


def _norm_shift(tensor: Tensor, family: Family) -> Values | None:
    shift = family.norm_shift
    if not shift or not tensor.name.endswith("norm.weight"):
        return None
    return lambda array: array + shift


JOINED = Quantization(8, 32)
"""What tensors of different formats become when one output is made of them."""


def _becomes(tensors: list[Tensor], rule: Rule, compact: bool) -> Quantization | None:
    kinds = [_kind(tensor, compact) for tensor in tensors]
    if rule.values is not None or len(tensors[0].shape) == 1 or None in kinds:
        return None
    if len(set(kinds)) > 1:
        return JOINED if compact else None
    return kinds[0]


def _kind(tensor: Tensor, compact: bool) -> Quantization | None:
    if tensor.type in FLOATS:
        return None
    found = FORMATS.get(tensor.type)
    if found is None:
        text = f'tensor "{tensor.name}" has type {tensor.type}, which is not supported yet'
        raise Unsupported(text)
    return found.becomes if found.is_exact or compact else None


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
