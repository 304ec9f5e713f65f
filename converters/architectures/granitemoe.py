"""Granite 3 with experts."""

from converters.architectures.base_config import base_config, expert_counts
from converters.architectures.family import STANDARD, Config, Family, Source
from converters.architectures.granite import multipliers
from converters.architectures.llama import HEADS, SPARSE

BLOCKS = {**STANDARD, **HEADS, **SPARSE, "ffn_gate_inp": "block_sparse_moe.router.layer"}


def configure(source: Source) -> Config:
    return (
        base_config(source, "granitemoe")
        | expert_counts(source, "num_local_experts")
        | multipliers(source)
        | {"attention_bias": False, "mlp_bias": False}
    )


FAMILY = Family(configure=configure, blocks=BLOCKS)
