"""The tiny model of each family: what its config says beside the family's defaults."""

from typing import Any

BASE: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
MOE: dict[str, Any] = {
    **BASE,
    "moe_intermediate_size": 32,
    "num_experts_per_tok": 2,
}
ROPE = {"rope_type": "default", "rope_theta": 500.0}
PARTIAL = {**ROPE, "partial_rotary_factor": 0.5}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 500.0,
    "factor": 4.0,
    "original_max_position_embeddings": 32,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
LOW_RANK = {
    "q_lora_rank": 24,
    "kv_lora_rank": 32,
    "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 8,
    "v_head_dim": 32,
    "num_key_value_heads": 4,
}
EXPERTS_OF_DEEPSEEK = {
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "routed_scaling_factor": 1.5,
}
SLIDING = ["sliding_attention", "sliding_attention", "full_attention"]
DELTA = {
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "linear_conv_kernel_dim": 4,
    "head_dim": 16,
    "num_hidden_layers": 4,
    "layer_types": ["linear_attention", "full_attention"] * 2,
    "rope_parameters": PARTIAL,
}
MAMBA2 = {
    "mamba_n_heads": 8,
    "mamba_d_head": 16,
    "mamba_d_state": 16,
    "mamba_d_conv": 4,
    "mamba_n_groups": 1,
    "mamba_expand": 2,
    "mamba_chunk_size": 16,
}

FAMILIES: dict[str, dict[str, Any]] = {
    "cohere": {"model_type": "cohere", **BASE, "rope_parameters": ROPE, "use_qk_norm": False, "logit_scale": 0.5},
    "cohere2": {"model_type": "cohere2", **BASE, "rope_parameters": ROPE, "num_hidden_layers": 4, "sliding_window": 8, "layer_types": SLIDING[1:] * 2, "head_dim": 16, "logit_scale": 0.5},
    "ernie4_5": {"model_type": "ernie4_5", **BASE, "head_dim": 16, "rope_parameters": ROPE},
    "exaone4": {"model_type": "exaone4", **BASE, "sliding_window": 8, "sliding_window_pattern": "LLG", "layer_types": SLIDING, "rope_parameters": LLAMA3},
    "gemma": {"model_type": "gemma", **BASE, "head_dim": 16, "rope_parameters": ROPE},
    "exaone4_dense": {"model_type": "exaone4", **BASE, "sliding_window": None, "sliding_window_pattern": None, "layer_types": ["full_attention"] * 3, "tie_word_embeddings": True, "rope_parameters": LLAMA3},
    "glm": {"model_type": "glm", **BASE, "head_dim": 16, "rope_parameters": PARTIAL},
    "glm4": {"model_type": "glm4", **BASE, "head_dim": 16, "rope_parameters": PARTIAL},
    "gpt2": {"model_type": "gpt2", "vocab_size": 96, "n_positions": 128, "n_embd": 64, "n_layer": 3, "n_head": 4, "bos_token_id": 1, "eos_token_id": 2},
    "gpt_neox": {"model_type": "gpt_neox", **{k: v for k, v in BASE.items() if k != "num_key_value_heads"}, "intermediate_size": 256, "rope_parameters": {**ROPE, "partial_rotary_factor": 0.25}},
    "helium": {"model_type": "helium", **BASE, "head_dim": 16, "rope_parameters": ROPE},
    "hunyuan_v1_dense": {"model_type": "hunyuan_v1_dense", **BASE, "head_dim": 16, "rope_parameters": ROPE},
    "hunyuan_v1_dense_alpha": {"model_type": "hunyuan_v1_dense", **BASE, "head_dim": 16, "rope_parameters": {"rope_type": "dynamic", "rope_theta": 500.0, "factor": 1.0, "alpha": 1000.0}},
    "nemotron_linear": {"model_type": "nemotron", **BASE, "rope_parameters": {**PARTIAL, "rope_type": "linear", "factor": 2.0}},
    "ministral3": {"model_type": "ministral3", **BASE, "head_dim": 16, "rope_parameters": {**YARN, "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.1}},
    "nemotron": {"model_type": "nemotron", **BASE, "rope_parameters": PARTIAL},
    "olmo3": {"model_type": "olmo3", **BASE, "sliding_window": 8, "layer_types": SLIDING, "rope_parameters": YARN},
    "phi": {"model_type": "phi", **BASE, "num_key_value_heads": 4, "rope_parameters": PARTIAL},
    "seed_oss": {"model_type": "seed_oss", **BASE, "head_dim": 16, "rope_parameters": ROPE},
    "smollm3": {"model_type": "smollm3", **BASE, "num_hidden_layers": 4, "no_rope_layer_interval": 4, "rope_parameters": ROPE},
    "stablelm": {"model_type": "stablelm", **BASE, "rope_parameters": PARTIAL, "use_qkv_bias": True},
    "starcoder2": {"model_type": "starcoder2", **BASE, "rope_parameters": ROPE, "sliding_window": None},
    "apertus": {"model_type": "apertus", **BASE, "rope_parameters": LLAMA3},
    # mixtures of experts
    "ernie4_5_moe": {"model_type": "ernie4_5_moe", **MOE, "moe_num_experts": 4, "moe_k": 2, "moe_num_shared_experts": 1, "moe_layer_start_index": 1, "moe_layer_end_index": 2, "rope_parameters": ROPE},
    "glm4_moe": {"model_type": "glm4_moe", **MOE, **EXPERTS_OF_DEEPSEEK, "head_dim": 16, "n_group": 1, "topk_group": 1, "use_qk_norm": True, "rope_parameters": PARTIAL},
    "granitemoe": {"model_type": "granitemoe", **BASE, "num_local_experts": 4, "num_experts_per_tok": 2, "rope_parameters": ROPE, "attention_multiplier": 0.2, "embedding_multiplier": 3.0, "residual_multiplier": 0.5, "logits_scaling": 2.0},
    "olmoe": {"model_type": "olmoe", **MOE, "num_experts": 4, "rope_parameters": ROPE},
    "phimoe": {"model_type": "phimoe", **BASE, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None, "attention_bias": True, "lm_head_bias": True, "rope_parameters": ROPE},
    "qwen2_moe": {"model_type": "qwen2_moe", **MOE, "num_experts": 4, "shared_expert_intermediate_size": 48, "decoder_sparse_step": 1, "rope_parameters": ROPE},
    "dots1": {"model_type": "dots1", **MOE, **EXPERTS_OF_DEEPSEEK, "head_dim": 16, "n_group": 1, "topk_group": 1, "rope_parameters": ROPE},
    "deepseek_v2": {"model_type": "deepseek_v2", **MOE, **LOW_RANK, **EXPERTS_OF_DEEPSEEK, "n_group": 1, "topk_group": 1, "topk_method": "greedy", "rope_parameters": {**YARN, "mscale": 0.7, "mscale_all_dim": 0.7}},
    "deepseek_v2_lite": {"model_type": "deepseek_v2", **MOE, **LOW_RANK, **EXPERTS_OF_DEEPSEEK, "q_lora_rank": None, "n_group": 1, "topk_group": 1, "topk_method": "greedy", "rope_parameters": ROPE},
    "deepseek_v3": {"model_type": "deepseek_v3", **MOE, **LOW_RANK, **EXPERTS_OF_DEEPSEEK, "n_group": 2, "topk_group": 1, "norm_topk_prob": True, "rope_parameters": {**YARN, "mscale": 1.0, "mscale_all_dim": 1.0}},
    "glm4_moe_lite": {"model_type": "glm4_moe_lite", **MOE, **LOW_RANK, **EXPERTS_OF_DEEPSEEK, "n_group": 1, "topk_group": 1, "rope_parameters": ROPE},
    "lfm2_moe": {"model_type": "lfm2_moe", **MOE, "num_experts": 4, "num_dense_layers": 1, "layer_types": ["conv", "full_attention", "conv"], "use_expert_bias": True, "rope_parameters": ROPE},
    # hybrids
    "lfm2": {"model_type": "lfm2", **BASE, "layer_types": ["conv", "full_attention", "conv"], "block_auto_adjust_ff_dim": False, "rope_parameters": ROPE},
    "mamba2": {"model_type": "mamba2", "vocab_size": 96, "hidden_size": 64, "num_hidden_layers": 3, "state_size": 16, "num_heads": 8, "head_dim": 16, "expand": 2, "n_groups": 1, "chunk_size": 16, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0},
    "mamba": {"model_type": "mamba", "vocab_size": 96, "hidden_size": 64, "num_hidden_layers": 3, "state_size": 16, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0},
    "falcon_h1": {"model_type": "falcon_h1", **BASE, **MAMBA2, "mamba_n_groups": 2, "head_dim": 16, "mamba_d_ssm": 128, "rope_parameters": ROPE, "attention_out_multiplier": 0.8, "ssm_in_multiplier": 0.7, "key_multiplier": 0.6, "lm_head_multiplier": 0.5, "embedding_multiplier": 2.0, "ssm_out_multiplier": 0.9, "mlp_multipliers": [0.7, 0.8], "ssm_multipliers": [0.9, 0.8, 0.7, 0.6, 0.5]},
    "granitemoehybrid": {"model_type": "granitemoehybrid", **BASE, **MAMBA2, "num_local_experts": 4, "num_experts_per_tok": 2, "shared_intermediate_size": 48, "layer_types": ["mamba", "attention", "mamba"], "position_embedding_type": "nope", "attention_multiplier": 0.2, "embedding_multiplier": 3.0, "residual_multiplier": 0.5, "logits_scaling": 2.0},
    "granitemoehybrid_dense": {"model_type": "granitemoehybrid", **BASE, **MAMBA2, "num_local_experts": 0, "num_experts_per_tok": 0, "shared_intermediate_size": 96, "layer_types": ["mamba", "attention", "mamba"], "position_embedding_type": "rope", "rope_parameters": ROPE},
    "qwen3_next": {"model_type": "qwen3_next", **MOE, **DELTA, "num_experts": 4, "shared_expert_intermediate_size": 32, "norm_topk_prob": True},
    "qwen3_5_text": {"model_type": "qwen3_5_text", **BASE, **DELTA},
    "qwen3_5_moe_text": {"model_type": "qwen3_5_moe_text", **MOE, **DELTA, "num_experts": 4, "shared_expert_intermediate_size": 32},
    "gemma4_text": {"model_type": "gemma4_text", **BASE, "head_dim": 16, "global_head_dim": 32, "layer_types": SLIDING, "sliding_window": 8, "hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": 96, "num_kv_shared_layers": 0},
    "nemotron_h": {"model_type": "nemotron_h", **BASE, "head_dim": 16, "layers_block_type": ["mamba", "attention", "moe"], "mamba_num_heads": 8, "mamba_head_dim": 16, "ssm_state_size": 16, "n_groups": 2, "chunk_size": 16, "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "moe_shared_expert_intermediate_size": 32},
    "jamba": {"model_type": "jamba", **BASE, "num_experts": 4, "num_experts_per_tok": 2, "attn_layer_period": 3, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1, "mamba_d_state": 16, "mamba_dt_rank": 8, "use_mamba_kernels": False},
    # others
    "afmoe": {"model_type": "afmoe", **MOE, "head_dim": 16, "num_experts": 4, "num_shared_experts": 1, "num_dense_layers": 1, "sliding_window": 8, "layer_types": SLIDING, "rope_parameters": ROPE, "n_group": 1, "topk_group": 1, "mup_enabled": True},
    "exaone_moe": {"model_type": "exaone_moe", **MOE, "head_dim": 16, "num_experts": 4, "num_shared_experts": 1, "first_k_dense_replace": 1, "sliding_window": 8, "sliding_window_pattern": "LLG", "layer_types": SLIDING, "n_group": 1, "topk_group": 1, "rope_parameters": ROPE},
    "gpt_bigcode": {"model_type": "gpt_bigcode", "vocab_size": 96, "n_positions": 128, "n_embd": 64, "n_layer": 3, "n_head": 4, "n_inner": 128, "bos_token_id": 1, "eos_token_id": 2},
    "gptj": {"model_type": "gptj", "vocab_size": 96, "n_positions": 128, "n_embd": 64, "n_layer": 3, "n_head": 4, "rotary_dim": 8, "bos_token_id": 1, "eos_token_id": 2},
    "solar_open": {"model_type": "solar_open", **MOE, **EXPERTS_OF_DEEPSEEK, "head_dim": 16, "n_group": 1, "topk_group": 1, "rope_parameters": ROPE},
}  # fmt: skip
