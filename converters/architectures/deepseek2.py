"""DeepSeek V2 Lite, V3 and R1: latent attention, experts in groups. V2 scores its experts another way."""

from typing import Any

from converters.architectures.base_config import base_config, expert_counts, grouped_experts
from converters.architectures.family import (
    EXPERTS,
    SHARED_EXPERTS,
    STANDARD,
    Config,
    Family,
    Rule,
    Source,
)
from converters.errors import Unsupported

BLOCKS = {
    **STANDARD,
    **EXPERTS,
    **SHARED_EXPERTS,
    "attn_q_a": "self_attn.q_a_proj",
    "attn_q_b": "self_attn.q_b_proj",
    "attn_q_a_norm": "self_attn.q_a_layernorm",
    "attn_kv_a_mqa": "self_attn.kv_a_proj_with_mqa",
    "attn_kv_a_norm": "self_attn.kv_a_layernorm",
    "attn_k_b": "self_attn.embed_q",
    "attn_v_b": "self_attn.unembed_out",
    "attn_kv_b": "self_attn.kv_b_proj",
    "exp_probs_b": Rule(to="mlp.gate.e_score_correction_bias", bare=True, wide=True),
}


SIGMOID = 2


def configure(source: Source) -> Config:
    is_v3 = any(t.name.endswith("exp_probs_b.bias") for t in source.inventory.tensors)
    config = base_config(source, "deepseek_v3" if is_v3 else "deepseek_v2")
    config |= expert_counts(source, "n_routed_experts") | grouped_experts(source)
    return (
        config
        | _attention(source)
        | (_sigmoid(source) if is_v3 else _softmax(source))
        | {
            "num_key_value_heads": config["num_attention_heads"],
            "rope_scaling": _scaling(source, config["rope_scaling"]),
            "attention_bias": False,
        }
    )


def _attention(source: Source) -> Config:
    h = source.h
    rotated = h.count("rope.dimension_count")
    whole = h.count("attention.key_length_mla", None) or h.count("attention.key_length")
    return {
        "q_lora_rank": h.count("attention.q_lora_rank", None),
        "kv_lora_rank": h.count("attention.kv_lora_rank"),
        "qk_rope_head_dim": rotated,
        "qk_nope_head_dim": whole - rotated,
        "v_head_dim": h.count("attention.value_length_mla", None)
        or h.count("attention.value_length"),
    }


def _sigmoid(source: Source) -> Config:
    if source.h.raw("expert_gating_func", SIGMOID) != SIGMOID:
        raise Unsupported(
            'architecture "deepseek2" with this scoring of experts is not supported yet'
        )
    return {"topk_method": "noaux_tc", "scoring_func": "sigmoid"}


def _softmax(source: Source) -> Config:
    """V2: one group of experts (Lite), the latent's key and value in one matrix, as files had it until 2025."""
    has_groups = source.h.count("expert_group_count", 1) > 1
    if source.has("blk.0.attn_k_b.weight") or has_groups or not source.has("blk.0.attn_q.weight"):
        raise Unsupported('architecture "deepseek2" of version 2 in this form is not supported yet')
    return {"topk_method": "greedy", "scoring_func": "softmax"}


def _scaling(source: Source, scaling: dict[str, Any] | None) -> dict[str, Any] | None:
    """GGUF keeps a tenth of the magnitude's multiplier."""
    key = "rope.scaling.yarn_log_multiplier"
    if scaling is None or key not in source.h:
        return scaling
    magnitude = round(source.h.number(key) * 10, 4)
    return scaling | {"mscale": magnitude, "mscale_all_dim": magnitude}


FAMILY = Family(configure=configure, blocks=BLOCKS)
