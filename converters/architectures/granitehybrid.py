"""Granite 4: state-space layers with some attention between them; dense, or experts beside a shared MLP."""

from converters.architectures.base_config import base_config, expert_counts
from converters.architectures.family import STANDARD, Config, Family, Rule, Source
from converters.architectures.granite import multipliers
from converters.architectures.llama import HEADS, SPARSE
from converters.architectures.recurrence import mixer


def configure(source: Source) -> Config:
    h = source.h
    config = base_config(source, "granitemoehybrid") | multipliers(source)
    attends = [source.has(f"blk.{i}.attn_q.weight") for i in range(source.num_layers)]
    heads, inner = h.count("ssm.time_step_rank"), h.count("ssm.inner_size")
    has_positions = h.flag("rope.scaling.finetuned", True)
    return (
        config
        | _experts(source)
        | {
            "layer_types": ["attention" if yes else "mamba" for yes in attends],
            "attention_bias": False,
            "mlp_bias": False,
            "mamba_n_heads": heads,
            "mamba_d_head": inner // heads,
            "mamba_d_state": h.count("ssm.state_size"),
            "mamba_d_conv": h.count("ssm.conv_kernel", maximum=64),
            "mamba_n_groups": h.count("ssm.group_count"),
            "mamba_proj_bias": False,
            "mamba_conv_bias": True,
            "position_embedding_type": "rope" if has_positions else "nope",
        }
    )


def _experts(source: Source) -> Config:
    if not source.h.count("expert_count", 0, least=0):
        return {"num_local_experts": None}
    shared = source.h.count("expert_shared_feed_forward_length")
    return expert_counts(source, "num_local_experts") | {"shared_intermediate_size": shared}


MIXED = {
    **SPARSE,
    "ffn_gate_inp": "block_sparse_moe.router.layer",
    "ffn_gate_shexp": Rule(to="shared_mlp.input_linear"),
    "ffn_up_shexp": Rule(to="shared_mlp.input_linear", place=1),
    "ffn_down_shexp": "shared_mlp.output_linear",
}
FAMILY = Family(configure=configure, blocks={**STANDARD, **HEADS, **MIXED, **mixer("mamba")})
