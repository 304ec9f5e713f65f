"""Falcon H1: attention and a state-space mixer side by side in every layer.

The checkpoint's multipliers are folded into the file's weights.
"""

from converters.architectures.base_config import base_config
from converters.architectures.family import ATTENTION, Config, Family, Source
from converters.architectures.recurrence import mixer

BLOCKS = {
    **ATTENTION,
    **mixer("mamba"),
    "ffn_norm": "pre_ff_layernorm",
    "ffn_gate": "feed_forward.gate_proj",
    "ffn_up": "feed_forward.up_proj",
    "ffn_down": "feed_forward.down_proj",
}
OUTER = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.final_layernorm",
    "output": "lm_head",
}
FOLDED = {
    "attention_in_multiplier": 1.0,
    "attention_out_multiplier": 1.0,
    "ssm_in_multiplier": 1.0,
    "ssm_out_multiplier": 1.0,
    "key_multiplier": 1.0,
    "lm_head_multiplier": 1.0,
    "embedding_multiplier": 1.0,
    "mlp_multipliers": [1.0, 1.0],
    "ssm_multipliers": [1.0] * 5,
}


def configure(source: Source) -> Config:
    h = source.h
    heads, inner = h.count("ssm.time_step_rank"), h.count("ssm.inner_size")
    return (
        base_config(source, "falcon_h1")
        | FOLDED
        | {
            "mamba_d_ssm": inner,
            "mamba_n_heads": heads,
            "mamba_d_head": inner // heads,
            "mamba_n_groups": h.count("ssm.group_count"),
            "mamba_d_state": h.count("ssm.state_size"),
            "mamba_d_conv": h.count("ssm.conv_kernel", maximum=64),
            "mamba_rms_norm": source.has("blk.0.ssm_norm.weight"),
            "mamba_norm_before_gate": False,
            "mamba_conv_bias": source.has("blk.0.ssm_conv1d.bias"),
            "mamba_proj_bias": False,
        }
    )


FAMILY = Family(configure=configure, blocks=BLOCKS, outer=OUTER)
