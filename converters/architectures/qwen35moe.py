"""Qwen 3.5 with experts in every layer."""

from converters.architectures import qwen35
from converters.architectures.base_config import expert_counts
from converters.architectures.family import EXPERTS, Config, Family, Source
from converters.architectures.qwen2moe import SHARED


def configure(source: Source) -> Config:
    return (
        qwen35.configure(source)
        | expert_counts(source, "num_experts")
        | {
            "model_type": "qwen3_5_moe",
            "intermediate_size": source.h.count("feed_forward_length", 1),
            "moe_intermediate_size": source.rows("blk.0.ffn_gate_exps.weight"),
            "shared_expert_intermediate_size": source.rows("blk.0.ffn_gate_shexp.weight"),
            "norm_topk_prob": True,
            "decoder_sparse_step": 1,
        }
    )


FAMILY = Family(
    configure=configure,
    blocks={**qwen35.BLOCKS, **EXPERTS, **SHARED},
    outer=qwen35.OUTER,
    layers=qwen35.FAMILY.layers,
)
