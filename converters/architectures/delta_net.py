"""The configuration of gated delta nets: Qwen 3 Next and Qwen 3.5."""

from converters.architectures.family import Config, Source
from converters.gguf.cursor import invalid


def delta_net(source: Source) -> Config:
    h = source.h
    heads, key_heads = h.count("ssm.time_step_rank"), h.count("ssm.group_count")
    if heads % key_heads:
        invalid(f'key "{h.architecture}.ssm.time_step_rank" is not a multiple of the key heads')
    width = h.count("attention.key_length", maximum=1 << 16)
    return {
        "linear_num_value_heads": heads,
        "linear_num_key_heads": key_heads,
        "linear_key_head_dim": h.count("ssm.state_size"),
        "linear_value_head_dim": h.count("ssm.inner_size") // heads,
        "linear_conv_kernel_dim": h.count("ssm.conv_kernel", maximum=64),
        "full_attention_interval": h.count("full_attention_interval", 4, maximum=1024),
        "partial_rotary_factor": h.count("rope.dimension_count", width) / width,
        "attention_bias": False,
    }
