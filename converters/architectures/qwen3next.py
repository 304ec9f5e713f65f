"""Qwen 3 Next: gated delta nets in three of four layers, experts in all.

The class wants q, k, v and z of a key head side by side; norms keep the 1 that GGUF added.
"""

import numpy as np

from converters.architectures.base_config import base_config, expert_counts
from converters.architectures.delta_net import delta_net
from converters.architectures.family import (
    ATTENTION,
    EXPERTS,
    Array,
    Config,
    Family,
    Rule,
    Source,
    as_convolution,
)
from converters.architectures.qwen2moe import SHARED
from converters.architectures.recurrence import negative_log
from converters.gguf.cursor import invalid

DELTA = {
    "attn_qkv": Rule(to="linear_attn.in_proj_qkvz", rows=lambda c, n: by_key_head(c, n)),
    "attn_gate": Rule(to="linear_attn.in_proj_qkvz", place=1),
    "ssm_ba": "linear_attn.in_proj_ba",
    "ssm_out": "linear_attn.out_proj",
    "ssm_conv1d": Rule(to="linear_attn.conv1d", shape=as_convolution),
    "ssm_dt": Rule(to="linear_attn.dt_bias", bare=True),
    "ssm_a": Rule(to="linear_attn.A_log", bare=True, values=negative_log, wide=True),
    "ssm_norm": "linear_attn.norm",
}
BLOCKS = {
    **ATTENTION,
    **EXPERTS,
    **SHARED,
    **DELTA,
    "post_attention_norm": "post_attention_layernorm",
}


def by_key_head(config: Config, rows: int) -> Array:
    """Source rows: all q, all k, all v, all z."""
    heads, width = config["linear_num_key_heads"], config["linear_key_head_dim"]
    values = config["linear_num_value_heads"] * config["linear_value_head_dim"]
    bounds = np.cumsum([heads * width, heads * width, values])
    pieces = np.split(np.arange(rows), bounds)
    if len(pieces[3]) != values or values % heads:
        invalid('tensor "attn_gate" does not fit the linear attention\'s heads')
    return np.concatenate([piece.reshape(heads, -1) for piece in pieces], axis=1).reshape(-1)


def configure(source: Source) -> Config:
    return (
        base_config(source, "qwen3_next")
        | delta_net(source)
        | expert_counts(source, "num_experts")
        | {
            "intermediate_size": source.h.count("feed_forward_length", 1),
            "moe_intermediate_size": source.rows("blk.0.ffn_gate_exps.weight"),
            "shared_expert_intermediate_size": source.rows("blk.0.ffn_gate_shexp.weight"),
            "norm_topk_prob": True,
            "decoder_sparse_step": 1,
            "mlp_only_layers": [],
        }
    )


FAMILY = Family(configure=configure, blocks=BLOCKS)
