"""What `inspect` shows: what a source holds, what each group of tensors becomes, and what that costs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from converters import inventory
from converters.dtypes import Dtype, is_compact, stored_dtype
from converters.errors import SourceError
from converters.inventory import Inventory, Tensor
from converters.measure import relative_error
from converters.plan import Output, Plan, array_specs, plan

ROLES = {
    "token_embd": "embedding",
    "output": "output",
    "per_layer": "embedding",
    "attn": "attention",
    "ffn": "feed forward",
    "ssm": "recurrence",
    "shortconv": "recurrence",
    "v": "vision",
    "mm": "vision",
}


def describe(
    sources: Sequence[Path], dtype: Dtype | None = None, compact: bool | None = None
) -> dict[str, Any]:
    """For `--json`, and for `table`. An unsupported model is described too; `problem` says why.

    Raises SourceError when the source cannot be read at all.
    """
    found = inventory.read(sources)
    stored = stored_dtype(dtype)
    try:
        made = plan(found, compact=is_compact(stored, compact))
        problem = None
    except SourceError as error:
        made, problem = None, str(error)
    return _summary(found) | {
        "dtype": stored.lower(),
        "becomes_bytes": made and sum(s.size for o in made.outputs for s in array_specs(o, stored)),
        "problem": problem,
        "groups": _groups(found, made, stored),
    }


def _summary(found: Inventory) -> dict[str, Any]:
    context = found.metadata.get(f"{found.architecture}.context_length")
    return {
        "format": found.kind,
        "architecture": found.architecture,
        "name": found.metadata.get("general.name"),
        "file_type": found.file_type,
        "parameters": found.parameter_count,
        "context_length": context if isinstance(context, int) else None,
        "files": len(found.files),
        "tensors": len(found.tensors),
        "bytes": found.size,
    }


@dataclass
class _Group:
    tensors: list[Tensor] = field(default_factory=list[Tensor])
    outputs: list[Output] = field(default_factory=list[Output])


def _groups(found: Inventory, made: Plan | None, dtype: str) -> list[dict[str, Any]]:
    outputs = {p.tensor.name: o for o in (made.outputs if made else ()) for p in o.parts}
    groups: dict[tuple[str, str], _Group] = {}
    for tensor in made.inventory.tensors if made else found.tensors:
        group = groups.setdefault((role(tensor.name), tensor.type), _Group())
        group.tensors.append(tensor)
        if tensor.name in outputs:
            group.outputs.append(outputs[tensor.name])
    return [
        {
            "group": name,
            "type": kind,
            "tensors": len(group.tensors),
            "parameters": sum(prod(t.shape) for t in group.tensors),
            "bytes": sum(t.size for t in group.tensors),
            "becomes": _becomes(group.outputs, dtype),
            "added_error": relative_error(group.outputs, dtype) if group.outputs else None,
        }
        for (name, kind), group in sorted(groups.items(), key=lambda item: -_bytes(item[1]))
    ]


def _bytes(group: _Group) -> int:
    return sum(tensor.size for tensor in group.tensors)


def role(name: str) -> str:
    """The group that a tensor belongs to, by its GGUF name."""
    stem = name.rpartition(".")[0] or name
    if "norm" in stem:
        return "norms"
    if "exps" in stem:
        return "experts"
    last = stem.split(".", 2)[-1] if stem.startswith("blk.") else stem
    for start, found in ROLES.items():
        if last == start or last.startswith((f"{start}_", f"{start}.")):
            return found
    return "other"


def _becomes(outputs: list[Output], dtype: str) -> str | None:
    kinds = {output.becomes for output in outputs}
    if not kinds:
        return None
    names = (
        dtype.lower()
        if kind is None
        else f"{kind.mode} {kind.bits} bit, groups of {kind.group_size}"
        for kind in kinds
    )
    return " / ".join(sorted(names))


# ---- for people


def table(found: dict[str, Any]) -> str:
    lines = [f"{label:<14} {text}" for label, text in _facts(found) if text]
    rows = [_HEAD, *(_row(group) for group in found["groups"])]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD))]
    body = ["  ".join(_aligned(row, widths)).rstrip() for row in rows]
    note = [f"\ncannot be converted: {found['problem']}"] if found["problem"] else []
    return "\n".join([*lines, "", *body, *note])


def _facts(found: dict[str, Any]) -> list[tuple[str, str]]:
    becomes = found["becomes_bytes"]
    return [
        ("name", found["name"] or ""),
        ("architecture", found["architecture"]),
        ("parameters", _count(found["parameters"])),
        ("quantisation", found["file_type"]),
        ("context", f"{found['context_length']:,} tokens" if found["context_length"] else ""),
        (
            "size",
            _size(found["bytes"]) + (f" in {found['files']} files" if found["files"] > 1 else ""),
        ),
        ("becomes", f"{_size(becomes)} of MLX weights ({found['dtype']})" if becomes else ""),
    ]


_HEAD = ("group", "type", "tensors", "parameters", "size", "becomes", "added error")
_LEFT = (0, 1, 5)


def _aligned(row: tuple[str, ...], widths: list[int]) -> list[str]:
    return [
        text.ljust(width) if i in _LEFT else text.rjust(width)
        for i, (text, width) in enumerate(zip(row, widths, strict=True))
    ]


def _row(group: dict[str, Any]) -> tuple[str, ...]:
    error = group["added_error"]
    shown = "-" if error is None else "none" if error == 0 else f"{error:.2%}"
    return (
        group["group"],
        group["type"],
        str(group["tensors"]),
        _count(group["parameters"]),
        _size(group["bytes"]),
        group["becomes"] or "-",
        shown,
    )


def _count(number: int) -> str:
    for unit, size in (("B", 10**9), ("M", 10**6), ("K", 10**3)):
        if number >= size:
            return f"{number / size:.4g}{unit}"
    return str(number)


def _size(number: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number} B"
