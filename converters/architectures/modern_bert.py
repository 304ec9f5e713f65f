"""ModernBERT: norms in front, windows by turns, fused q, k, v and fused gate and up."""

from converters.architectures.encoder_config import encoder_config
from converters.architectures.family import Config, Family, Names, Source

BLOCKS: Names = {
    "attn_norm": "attn_norm",
    "attn_qkv": "attn.Wqkv",
    "attn_output": "attn.Wo",
    "ffn_norm": "mlp_norm",
    "ffn_up": "mlp.Wi",
    "ffn_down": "mlp.Wo",
}
PATTERN = 3
FULL, SLIDING = "full_attention", "sliding_attention"


def configure(source: Source) -> Config:
    h = source.h
    config = encoder_config(source, "modernbert")
    period = h.count("attention.sliding_window_pattern", PATTERN, maximum=1024)
    return config | {
        "norm_eps": config["layer_norm_eps"],
        "hidden_activation": h.text("hidden_activation", "gelu"),
        "local_attention": h.count("attention.sliding_window", 128),
        "layer_types": [SLIDING if i % period else FULL for i in range(source.num_layers)],
        "global_rope_theta": h.number("rope.freq_base", 160_000.0),
        "local_rope_theta": h.number("rope.freq_base_swa", 10_000.0),
    }


FAMILY = Family(
    configure=configure,
    blocks=BLOCKS,
    outer={
        "token_embd": "embeddings.tok_embeddings",
        "token_embd_norm": "embeddings.norm",
        "output_norm": "final_norm",
    },
    layers="layers",
)
