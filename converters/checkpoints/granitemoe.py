"""Granite's experts: gate and up lie in one stack."""

from dataclasses import replace
from typing import Any

from converters.checkpoints import Steps
from converters.checkpoints.stacks import halves
from converters.weights import Step

_MOE = ".block_sparse_moe."


def arrange(config: dict[str, Any], steps: Steps) -> tuple[dict[str, Any], Steps]:
    return config, split(steps, _MOE, ".block_sparse_moe.switch_mlp.")


def split(steps: Steps, old: str, new: str) -> Steps:
    """`input_linear` and `output_linear` below `old` as the three projections below `new`."""
    made = (piece for step in steps.values() for piece in _pieces(step, old, new))
    return {piece.name: piece for piece in made}


def _pieces(step: Step, old: str, new: str) -> list[Step]:
    stem, found, leaf = step.name.partition(old)
    if found and leaf == "input_linear.weight":
        return halves(step, f"{stem}{new}gate_proj.weight", f"{stem}{new}up_proj.weight")
    if found and leaf == "output_linear.weight":
        return [replace(step, name=f"{stem}{new}down_proj.weight")]
    return [step]
