"""gpt-oss: experts with biases, attention sinks, a sliding window in every other layer."""

from converters.architectures.base_config import base_config, expert_counts
from converters.architectures.family import ATTENTION, Config, Family, Rule, Source

BLOCKS = {
    **ATTENTION,
    "post_attention_norm": "post_attention_layernorm",
    "attn_sinks": Rule(to="self_attn.sinks", bare=True),
    "ffn_gate_inp": "mlp.router",
    "ffn_gate_exps": "mlp.experts.gate_proj",
    "ffn_up_exps": "mlp.experts.up_proj",
    "ffn_down_exps": "mlp.experts.down_proj",
}


def configure(source: Source) -> Config:
    layers = source.num_layers
    config = base_config(source, "gpt_oss")
    if config["rope_scaling"] is not None:
        config["rope_scaling"]["truncate"] = False  # the checkpoint's, which GGUF has no key for
    return (
        config
        | expert_counts(source, "num_local_experts")
        | {
            "intermediate_size": source.h.count("expert_feed_forward_length"),
            "sliding_window": source.h.count("attention.sliding_window"),
            "layer_types": [("sliding_attention", "full_attention")[i % 2] for i in range(layers)],
        }
    )


FAMILY = Family(configure=configure, blocks=BLOCKS)
