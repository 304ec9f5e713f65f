"""Granite 4: kinds of layers by transformers 4's and 5's names; no experts is none, not zero."""

from typing import Any

from converters.checkpoints import Steps
from converters.checkpoints.granitemoe import split
from converters.checkpoints.settings import finite

_KINDS = {"linear_attention": "mamba", "full_attention": "attention"}


def arrange(config: dict[str, Any], steps: Steps) -> tuple[dict[str, Any], Steps]:
    config = finite(config)
    kinds = config.get("layer_types") or config.get("layers_block_type") or []
    own: dict[str, Any] = {"layer_types": [_KINDS.get(kind, kind) for kind in kinds]}
    if not config.get("num_local_experts"):
        own |= {"num_local_experts": None, "num_experts_per_tok": None}
        steps = split(steps, ".shared_mlp.", ".mlp.")
    return config | own, split(steps, ".block_sparse_moe.", ".block_sparse_moe.switch_mlp.")
