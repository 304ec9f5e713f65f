"""Two-layer models with random weights, one of each cache kind, and what tests ask of an engine."""

from collections.abc import Iterable
from functools import cache
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten

from mlx_ollama.engine import mlx_models
from mlx_ollama.engine.engine import Engine
from mlx_ollama.engine.loader import LoadedModel, load_stream
from mlx_ollama.engine.sequence import (
    Event,
    PrefillEvent,
    Request,
    SamplingParams,
    TokenEvent,
)

VOCABULARY = 320
GREEDY = SamplingParams(temperature=0)

BASE: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "rms_norm_eps": 1e-5,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 4096,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
}
MIXED_LAYERS = ["sliding_attention", "full_attention"]
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},
    "qwen3": {},
    "granite": {
        "embedding_multiplier": 2.0,
        "attention_multiplier": 0.25,
        "residual_multiplier": 0.5,
        "logits_scaling": 2.0,
        "attention_bias": False,
        "mlp_bias": False,
    },
    "olmo2": {},
    "phi3": {},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen3_moe": {
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "moe_intermediate_size": 32,
        "norm_topk_prob": True,
    },
    "gemma2": {
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
        "query_pre_attn_scalar": 8,
        "sliding_window": 16,
    },
    "gemma3_text": {
        "query_pre_attn_scalar": 8,
        "sliding_window": 16,
        "sliding_window_pattern": 2,
        "rope_local_base_freq": 10000.0,
    },
    "gpt_oss": {
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "sliding_window": 16,
        "layer_types": MIXED_LAYERS,
    },
}
PLAIN = [name for name in CONFIGS if name not in ("gemma2", "gemma3_text", "gpt_oss")]


@cache
def model(model_type: str = "llama") -> LoadedModel:
    """A model of an architecture; the same weights whenever it is asked for."""
    config = {"model_type": model_type, **BASE, **CONFIGS[model_type]}
    mx.random.seed(7)
    weights: Any = tree_flatten(mlx_models.build(config).parameters())
    # Larger weights than a fresh model's, or every answer would be one token repeated.
    return load_stream(config, [(name, _spread(array)) for name, array in weights])


def _spread(array: mx.array) -> mx.array:
    return mx.random.normal(array.shape) * 0.5 if array.ndim > 1 else array


def request(number: int, ids: list[int], **settings: Any) -> Request:
    defaults: dict[str, Any] = {"num_ctx": 512, "max_tokens": 12, "sampling": GREEDY}
    return Request(id=number, ids=ids, **{**defaults, **settings})


def drain(engine: Engine) -> list[Event]:
    """Step until nothing is left."""
    events: list[Event] = []
    while engine.has_work:
        events += engine.step()
    return events


def run(engine: Engine, requests: Iterable[Request], every: int = 0) -> dict[int, list[int]]:
    """Each request's tokens; they arrive together, or one in `every` steps."""
    waiting, events, steps = list(requests), list[Event](), 0
    while waiting or engine.has_work:
        while waiting and (every == 0 or steps % every == 0):
            engine.submit(waiting.pop(0))
            if every:
                break
        events += engine.step()
        steps += 1
    return tokens_of(events)


def tokens_of(events: Iterable[Event]) -> dict[int, list[int]]:
    tokens: dict[int, list[int]] = {}
    for event in events:
        if isinstance(event, TokenEvent):
            tokens.setdefault(event.id, []).append(event.token)
        elif not isinstance(event, PrefillEvent):
            raise AssertionError(event)
    return tokens
