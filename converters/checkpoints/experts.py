"""Mixtures of experts: one stack for each projection, under the names that mlx-lm gives the stacks.

On disk each expert has a matrix of its own, or, as transformers 5 holds them, gate and up lie in one stack.
"""

import re
from dataclasses import replace
from typing import Any

from converters.checkpoints import Steps
from converters.checkpoints.stacks import halves, stacked
from converters.errors import InvalidSource
from converters.weights import Step

_EXPERT = re.compile(r"(.+)\.experts\.(\d+)\.(\w+)\.weight")
_FUSED = re.compile(r"(.+)\.experts\.(gate_up_proj|down_proj)(?:\.weight)?")
_NAMES = {"w1": "gate_proj", "w2": "down_proj", "w3": "up_proj"}
# transformers 5 calls the number of experts alike in all families.
_COUNT = {"qwen3_moe": "num_experts"}


def arrange(config: dict[str, Any], steps: Steps) -> tuple[dict[str, Any], Steps]:
    groups: dict[str, dict[int, Step]] = {}
    rest: Steps = {}
    for name, step in _unfused(steps).items():
        found = _EXPERT.fullmatch(name)
        if found is None:
            rest[name] = step
            continue
        leaf = _NAMES.get(found[3], found[3])
        groups.setdefault(f"{found[1]}.switch_mlp.{leaf}.weight", {})[int(found[2])] = step
    made = {name: stacked(name, _in_order(name, parts)) for name, parts in groups.items()}
    return _configured(config), rest | made


def _unfused(steps: Steps) -> Steps:
    made = (piece for step in steps.values() for piece in _pieces(step))
    return {piece.name: piece for piece in made}


def _pieces(step: Step) -> list[Step]:
    """(experts, 2 · inner, columns) as gate and up; (experts, rows, inner) under its other name."""
    found = _FUSED.fullmatch(step.name)
    if found is None or len(step.shape) != 3:
        return [step]
    stem = f"{found[1]}.switch_mlp"
    if found[2] == "down_proj":
        return [replace(step, name=f"{stem}.down_proj.weight")]
    return halves(step, f"{stem}.gate_proj.weight", f"{stem}.up_proj.weight")


def _in_order(name: str, parts: dict[int, Step]) -> list[Step]:
    if set(parts) != set(range(len(parts))):
        raise InvalidSource(f'experts of "{name}" are missing')
    return [parts[i] for i in range(len(parts))]


def _configured(config: dict[str, Any]) -> dict[str, Any]:
    wanted = _COUNT.get(str(config["model_type"]))
    if wanted and wanted not in config and "num_local_experts" in config:
        return {**config, wanted: config["num_local_experts"]}
    return config
