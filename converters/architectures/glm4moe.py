"""GLM 4.5 and 4.6: experts chosen by a sigmoid with a bias; the draft layer at the end is left out."""

from converters.architectures.base_config import (
    base_config,
    expert_counts,
    grouped_experts,
    partial_rotary,
)
from converters.architectures.family import (
    EXPERTS,
    SHARED_EXPERTS,
    STANDARD,
    Config,
    Family,
    Rule,
    Source,
)

BLOCKS = {
    **STANDARD,
    **EXPERTS,
    **SHARED_EXPERTS,
    "exp_probs_b": Rule(to="mlp.gate.e_score_correction_bias", bare=True, wide=True),
    "post_attention_norm": "post_attention_layernorm",
}


def configure(source: Source) -> Config:
    config = base_config(source, "glm4_moe")
    drafts = source.h.count("nextn_predict_layers", 0, least=0, maximum=8)
    return (
        config
        | expert_counts(source, "n_routed_experts")
        | grouped_experts(source)
        | {
            "num_hidden_layers": source.num_layers - drafts,
            "attention_bias": source.has("blk.0.attn_q.bias"),
            "partial_rotary_factor": partial_rotary(source, config),
            "use_qk_norm": source.has("blk.0.attn_q_norm.weight"),
            "scoring_func": "sigmoid",
            "topk_method": "noaux_tc",
        }
    )


FAMILY = Family(configure=configure, blocks=BLOCKS)
