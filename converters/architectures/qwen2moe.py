"""Qwen 1.5 and 2 with experts, and one expert for every token behind a gate of its own."""

from converters.architectures.base_config import base_config, expert_counts
from converters.architectures.family import EXPERTS, STANDARD, Config, Family, Rule, Source, as_row

SHARED = {
    "ffn_gate_shexp": "mlp.shared_expert.gate_proj",
    "ffn_up_shexp": "mlp.shared_expert.up_proj",
    "ffn_down_shexp": "mlp.shared_expert.down_proj",
    "ffn_gate_inp_shexp": Rule(to="mlp.shared_expert_gate", shape=as_row),
}


def configure(source: Source) -> Config:
    return (
        base_config(source, "qwen2_moe")
        | expert_counts(source, "num_experts")
        | {
            "moe_intermediate_size": source.rows("blk.0.ffn_gate_exps.weight"),
            "shared_expert_intermediate_size": source.rows("blk.0.ffn_gate_shexp.weight"),
            "norm_topk_prob": False,
        }
    )


FAMILY = Family(configure=configure, blocks={**STANDARD, **EXPERTS, **SHARED})
