"""Granite 4, dense: state-space layers with some attention between them. With experts it is refused."""

from converters.architectures.base_config import base_config
from converters.architectures.family import STANDARD, Config, Family, Source
from converters.architectures.granite import multipliers
from converters.architectures.llama import HEADS
from converters.architectures.recurrence import mixer


def configure(source: Source) -> Config:
    h = source.h
    config = base_config(source, "granitemoehybrid") | multipliers(source)
    attends = [source.has(f"blk.{i}.attn_q.weight") for i in range(source.num_layers)]
    heads, inner = h.count("ssm.time_step_rank"), h.count("ssm.inner_size")
    has_positions = h.flag("rope.scaling.finetuned", True)
    return config | {
        "layer_types": ["attention" if yes else "mamba" for yes in attends],
        "attention_bias": False,
        "mlp_bias": False,
        "num_local_experts": None,
        "mamba_n_heads": heads,
        "mamba_d_head": inner // heads,
        "mamba_d_state": h.count("ssm.state_size"),
        "mamba_d_conv": h.count("ssm.conv_kernel", maximum=64),
        "mamba_n_groups": h.count("ssm.group_count"),
        "mamba_proj_bias": False,
        "mamba_conv_bias": True,
        "position_embedding_type": "rope" if has_positions else "nope",
    }


FAMILY = Family(configure=configure, blocks={**STANDARD, **HEADS, **mixer("mamba")})
