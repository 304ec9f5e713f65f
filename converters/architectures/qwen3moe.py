"""Qwen 3 with experts in every layer; the file does not say that router weights are normalised."""

from converters.architectures.base_config import base_config, expert_counts
from converters.architectures.family import EXPERTS, STANDARD, Config, Family, Source


def configure(source: Source) -> Config:
    return (
        base_config(source, "qwen3_moe")
        | expert_counts(source, "num_experts")
        | {
            "moe_intermediate_size": source.h.count("expert_feed_forward_length"),
            "norm_topk_prob": True,
            "decoder_sparse_step": 1,
            "mlp_only_layers": [],
        }
    )


FAMILY = Family(configure=configure, blocks={**STANDARD, **EXPERTS})
