"""llama 2 and 3, mistral 7B, SmolLM2, vicuna …; with experts, mixtral.

llama.cpp permutes the rows of q and k (conversion/llama.py), and stores llama 3.1's rope scaling as a table.
"""

from converters.architectures.base_config import base_config, expert_counts
from converters.architectures.family import STANDARD, Config, Family, Rule, Source, unpermute

HEADS = {
    "attn_q": Rule(to="self_attn.q_proj", rows=unpermute("num_attention_heads")),
    "attn_k": Rule(to="self_attn.k_proj", rows=unpermute("num_key_value_heads")),
}
SPARSE = {
    "ffn_gate_inp": "block_sparse_moe.gate",
    "ffn_gate_exps": "block_sparse_moe.switch_mlp.gate_proj",
    "ffn_up_exps": "block_sparse_moe.switch_mlp.up_proj",
    "ffn_down_exps": "block_sparse_moe.switch_mlp.down_proj",
}


def configure(source: Source) -> Config:
    experts = source.h.count("expert_count", 0, least=0, maximum=4096)
    if experts:
        return base_config(source, "mixtral") | expert_counts(source, "num_local_experts")
    return base_config(source, "llama") | {
        "attention_bias": source.has("blk.0.attn_q.bias"),
        "mlp_bias": source.has("blk.0.ffn_down.bias"),
    }


FAMILY = Family(configure=configure, blocks={**STANDARD, **HEADS, **SPARSE})
