"""Mamba 2: no attention at all."""

from converters.architectures.family import Config, Family, Source
from converters.architectures.recurrence import UNLIMITED, mixer

OUTER = {
    "token_embd": "backbone.embeddings",
    "output_norm": "backbone.norm_f",
    "output": "lm_head",
}
BLOCKS = {"attn_norm": "norm", **mixer("mixer")}


def configure(source: Source) -> Config:
    h = source.h
    heads, inner = h.count("ssm.time_step_rank"), h.count("ssm.inner_size")
    return {
        "model_type": "mamba2",
        "vocab_size": source.rows("token_embd.weight"),
        "hidden_size": h.count("embedding_length"),
        "num_hidden_layers": source.num_layers,
        "num_heads": heads,
        "num_attention_heads": heads,  # of the mixer; there are no others
        "head_dim": inner // heads,
        "intermediate_size": inner,
        "state_size": h.count("ssm.state_size"),
        "ssm_state_size": h.count("ssm.state_size"),
        "conv_kernel": h.count("ssm.conv_kernel", maximum=64),
        "n_groups": h.count("ssm.group_count"),
        "layer_norm_epsilon": h.number("attention.layer_norm_rms_epsilon"),
        "use_bias": False,
        "use_conv_bias": source.has("blk.0.ssm_conv1d.bias"),
        "tie_word_embeddings": not source.has("output.weight"),
        "time_step_limit": [0.0, UNLIMITED],
        "time_step_rank": "auto",
        "max_position_embeddings": h.count("context_length", maximum=1 << 30),
    }


FAMILY = Family(configure=configure, blocks=BLOCKS, outer=OUTER, layers="backbone.layers")
