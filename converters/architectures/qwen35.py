"""Qwen 3.5, dense: gated delta nets in three of four layers.

llama.cpp keeps value heads by their place in a group (tiled); the class wants them group by group.
"""

from collections.abc import Callable

import numpy as np

from converters.architectures.base_config import base_config
from converters.architectures.delta_net import delta_net
from converters.architectures.family import (
    ATTENTION,
    Array,
    Config,
    Family,
    RowOrder,
    Rule,
    Source,
    as_convolution,
)
from converters.architectures.recurrence import negative_log
from converters.gguf.cursor import invalid

Width = Callable[[Config], int]


def _value_width(config: Config) -> int:
    return config["linear_value_head_dim"]


def _one(_: Config) -> int:
    return 1


def _grouped(width: Width, *, after_keys: bool = False) -> RowOrder:
    """Value heads from (place, group) to (group, place); rows of q and k before them stay."""

    def order(config: Config, rows: int) -> Array:
        groups, heads = config["linear_num_key_heads"], config["linear_num_value_heads"]
        first = 2 * groups * config["linear_key_head_dim"] if after_keys else 0
        tiled = np.arange(first, rows)
        if len(tiled) != heads * width(config):
            invalid("a tensor does not fit the linear attention's heads")
        by_group = tiled.reshape(heads // groups, groups, -1).swapaxes(0, 1).reshape(-1)
        return np.concatenate([np.arange(first), by_group])

    return order


LINEAR = "linear_attn"
BLOCKS = {
    **ATTENTION,
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "post_attention_norm": "post_attention_layernorm",
    "attn_qkv": Rule(to=f"{LINEAR}.in_proj_qkv", rows=_grouped(_value_width, after_keys=True)),
    "attn_gate": Rule(to=f"{LINEAR}.in_proj_z", rows=_grouped(_value_width)),
    "ssm_alpha": Rule(to=f"{LINEAR}.in_proj_a", rows=_grouped(_one)),
    "ssm_beta": Rule(to=f"{LINEAR}.in_proj_b", rows=_grouped(_one)),
    "ssm_dt": Rule(to=f"{LINEAR}.dt_bias", bare=True, rows=_grouped(_one)),
    "ssm_a": Rule(
        to=f"{LINEAR}.A_log", bare=True, values=negative_log, rows=_grouped(_one), wide=True
    ),
    "ssm_conv1d": Rule(
        to=f"{LINEAR}.conv1d",
        rows=_grouped(_value_width, after_keys=True),
        shape=as_convolution,
    ),
    "ssm_norm": f"{LINEAR}.norm",
    "ssm_out": Rule(to=f"{LINEAR}.out_proj", columns=_grouped(_value_width)),
}
OUTER = {
    "token_embd": "language_model.model.embed_tokens",
    "output_norm": "language_model.model.norm",
    "output": "language_model.lm_head",
}


def configure(source: Source) -> Config:
    drafts = source.h.count("nextn_predict_layers", 0, least=0, maximum=8)
    config = base_config(source, "qwen3_5") | delta_net(source)
    sections = source.h.raw("rope.dimension_sections", [])
    return config | {
        "num_hidden_layers": source.num_layers - drafts,
        "rope_parameters": {
            "type": "default",
            "rope_theta": config["rope_theta"],
            "partial_rotary_factor": config["partial_rotary_factor"],
            "mrope_section": [n for n in sections if type(n) is int and n > 0],
            "mrope_interleaved": True,
        },
    }


FAMILY = Family(
    configure=configure, blocks=BLOCKS, outer=OUTER, layers="language_model.model.layers"
)
