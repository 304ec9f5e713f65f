"""DeepSeek V3 and its kin: the second half of the low-rank attention apart for keys and values.

Layers beyond `num_hidden_layers` draft tokens; no class runs them.
"""

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from converters.checkpoints import Steps, experts
from converters.checkpoints.stacks import part
from converters.errors import InvalidSource
from converters.safetensors.arrays import Array
from converters.weights import Step

_LAYER = re.compile(r"model\.layers\.(\d+)\.")
_JOINED = ".kv_b_proj.weight"


def arrange(config: dict[str, Any], steps: Steps) -> tuple[dict[str, Any], Steps]:
    steps = without_drafts(config, steps)
    made = (piece for step in steps.values() for piece in _pieces(config, step))
    return experts.arrange(config, {piece.name: piece for piece in made})


def without_drafts(config: dict[str, Any], steps: Steps) -> Steps:
    layers = config.get("num_hidden_layers", 0)

    def is_draft(name: str) -> bool:
        found = _LAYER.match(name)
        return found is not None and int(found[1]) >= layers

    return {name: step for name, step in steps.items() if not is_draft(name)}


def _pieces(config: dict[str, Any], step: Step) -> list[Step]:
    """(heads · (nope + value), rank) as (heads, rank, nope) and (heads, value, rank)."""
    if not step.name.endswith(_JOINED) or step.is_packed:
        return [step]
    heads, nope, value = (
        config[key] for key in ("num_attention_heads", "qk_nope_head_dim", "v_head_dim")
    )
    rows, rank = step.shape
    if rows != heads * (nope + value):
        raise InvalidSource(f'tensor "{step.name}" does not fit config.json')
    stem = step.name.removesuffix(_JOINED)
    keys, values = _cut(heads, slice(nope), turned=True), _cut(heads, slice(nope, None))
    return [
        part(f"{stem}.embed_q.weight", step, (heads, rank, nope), keys),
        part(f"{stem}.unembed_out.weight", step, (heads, value, rank), values),
    ]


def _cut(heads: int, rows: slice, *, turned: bool = False) -> Callable[[Array], Array]:
    def cut(array: Array) -> Array:
        taken = array.data.reshape(heads, -1, array.data.shape[1])[:, rows]
        return Array(array.dtype, np.ascontiguousarray(taken.swapaxes(1, 2) if turned else taken))

    return cut
