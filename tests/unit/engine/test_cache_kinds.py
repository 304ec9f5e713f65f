"""Recurrent, mixed and compressed caches: batched where they can be, one at a time where not, cached by snapshots.

The architectures need not be offered yet: their classes stand for a kind of cache.
"""

import random
from dataclasses import replace
from functools import cache
from importlib import import_module
from typing import Any

import mlx.core as mx
import pytest
from mlx.utils import tree_flatten, tree_unflatten

from mlx_ollama.engine import mlx_models, probe
from mlx_ollama.engine.engine import Engine
from mlx_ollama.engine.loader import LoadedModel
from mlx_ollama.engine.sequence import PrefillEvent
from tests.unit.engine.tiny import VOCABULARY, drain, request, run, tokens_of

BASE: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "rms_norm_eps": 1e-5,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 1024,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
}
KINDS: dict[str, dict[str, Any]] = {
    "lfm2": {  # convolution state beside keys and values
        "norm_eps": 1e-5,
        "conv_bias": False,
        "conv_L_cache": 3,
        "block_dim": 32,
        "block_multiple_of": 8,
        "block_ffn_dim_multiplier": 1.0,
        "block_auto_adjust_ff_dim": False,
        "block_ff_dim": 64,
        "full_attn_idxs": [1],
    },
    "falcon_h1": {  # both in one layer: a list
        "mamba_d_head": 8,
        "mamba_d_ssm": 32,
        "mamba_d_state": 8,
        "mamba_n_heads": 4,
        "ssm_multipliers": [0.5] * 5,
        "lm_head_multiplier": 1.0,
    },
    "qwen3_next": {  # a delta rule's state
        "linear_num_value_heads": 4,
        "linear_num_key_heads": 2,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "linear_conv_kernel_dim": 4,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "decoder_sparse_step": 1,
        "shared_expert_intermediate_size": 32,
        "mlp_only_layers": [],
        "moe_intermediate_size": 32,
        "partial_rotary_factor": 0.5,
        "full_attention_interval": 2,
    },
    "mamba2": {  # nothing but state
        "num_heads": 8,
        "head_dim": 8,
        "state_size": 8,
        "layer_norm_epsilon": 1e-5,
        "conv_kernel": 4,
        "n_groups": 1,
        "use_bias": False,
        "use_conv_bias": True,
        "time_step_limit": [0.0, 100.0],
        "time_step_rank": "auto",
    },
    "cohere2": {"sliding_window": 16, "sliding_window_pattern": 2, "num_hidden_layers": 4},
    "deepseek_v2": {  # keys and values compressed together
        "kv_lora_rank": 16,
        "q_lora_rank": 16,
        "qk_rope_head_dim": 8,
        "v_head_dim": 8,
        "qk_nope_head_dim": 8,
        "num_key_value_heads": 4,
        "n_routed_experts": 4,
        "n_shared_experts": 1,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 32,
        "topk_method": "greedy",
        "n_group": 1,
        "topk_group": 1,
        "rope_scaling": {
            "type": "yarn",
            "factor": 2.0,
            "original_max_position_embeddings": 512,
            "mscale_all_dim": 0.7,
        },
    },
}
KINDS["deepseek_v3"] = {  # and kept compressed: attention has its own way with them
    **KINDS["deepseek_v2"],
    "topk_method": "noaux_tc",
    "norm_topk_prob": True,
    "routed_scaling_factor": 1.0,
}


@cache
def model(name: str) -> LoadedModel:
    config = {"model_type": name, **BASE, **KINDS[name]}
    module = import_module(f"mlx_lm.models.{name}")
    built: Any = module.Model(module.ModelArgs.from_dict(config))
    mx.random.seed(5)
    flat: Any = tree_flatten(built.parameters())
    spread = [(n, mx.random.normal(a.shape) * 0.3 if a.ndim == 2 else a) for n, a in flat]
    built.update(tree_unflatten(spread))
    built.eval()
    kinds = tuple(sorted({type(c).__name__ for c in mlx_models.new_caches(built)}))
    return LoadedModel(
        model=built,
        config=config,
        vocab_size=VOCABULARY,
        context_length=1024,
        cache_kinds=kinds,
        bytes=0,
        batchable=probe.make_batchable(built, VOCABULARY),
        dtype=mx.float32,
    )


def prompts(seed: int, count: int) -> list[list[int]]:
    generator = random.Random(seed)
    return [
        [generator.randrange(VOCABULARY) for _ in range(generator.randrange(1, 50))]
        for _ in range(count)
    ]


@pytest.mark.parametrize("name", KINDS)
def test_alone_and_in_a_batch(name: str) -> None:
    requests = [request(i, ids) for i, ids in enumerate(prompts(1, 6))]
    single = run(Engine(model(name)), requests)
    assert run(Engine(model(name), parallel=3), requests, every=2) == single
    assert len({token for tokens in single.values() for token in tokens}) > 5


@pytest.mark.parametrize("name", KINDS)
def test_cold_and_from_the_cache(name: str) -> None:
    engine = Engine(model(name), parallel=2)
    (system,) = prompts(2, 1)
    system = system * (40 // len(system) + 1)
    known, cached = [system], 0
    for turn in range(5):
        asked = [
            request(i, known[-1 - i % len(known)] + ids, checkpoints=(len(system),))
            for i, ids in enumerate(prompts(turn, 2))
        ]
        for wanted in asked:
            engine.submit(wanted)
        events = drain(engine)
        cached += sum(e.cached for e in events if isinstance(e, PrefillEvent))
        answers = tokens_of(events)
        for wanted in asked:
            cold = run(Engine(model(name), prefix_bytes=0), [wanted])
            assert answers[wanted.id] == cold[wanted.id]
            known.append(wanted.ids + answers[wanted.id])
    assert cached > 100


def test_all_of_them_stand_in_a_batch() -> None:
    assert {name: model(name).batchable for name in KINDS} == dict.fromkeys(KINDS, True)


def test_what_does_not_agree_runs_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a cache without a batched form, or attention that mixes rows."""
    loaded = model("lfm2")

    def refuse(layer: Any) -> Any:
        raise TypeError("no batched form")

    monkeypatch.setattr(probe.rows, "side_by_side", refuse)
    assert not probe.make_batchable(loaded.model, VOCABULARY)
    alone = replace(loaded, batchable=False)
    assert Engine(alone, parallel=4).parallel == 1
    requests = [request(i, ids) for i, ids in enumerate(prompts(1, 3))]
    assert len(run(Engine(alone, parallel=4), requests)) == 3
