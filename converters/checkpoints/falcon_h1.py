"""Falcon H1: its many multipliers go into the weights; mlx-lm's class forgets those of values and keys."""

import re
from typing import Any

import numpy as np

from converters.checkpoints import Steps
from converters.checkpoints.names import as_convolution
from converters.checkpoints.settings import finite
from converters.checkpoints.stacks import part
from converters.errors import InvalidSource, Unsupported
from converters.safetensors.arrays import Array
from converters.weights import Step

Factor = float | np.ndarray[Any, Any]

_SINGLE = (
    "attention_in_multiplier",
    "attention_out_multiplier",
    "ssm_in_multiplier",
    "ssm_out_multiplier",
    "key_multiplier",
    "lm_head_multiplier",
    "embedding_multiplier",
)
_SEVERAL = {"mlp_multipliers": 2, "ssm_multipliers": 5}


def arrange(config: dict[str, Any], steps: Steps) -> tuple[dict[str, Any], Steps]:
    config = finite(config)
    if config.get("mamba_rms_norm") and config.get("mamba_n_groups", 1) != 1:
        raise Unsupported('architecture "falcon_h1" with norms of groups is not supported yet')
    factors = _factors(config)
    made = {name: _folded(step, factors) for name, step in steps.items()}
    ones = dict.fromkeys(_SINGLE, 1.0) | {key: [1.0] * n for key, n in _SEVERAL.items()}
    return config | ones, made


def _folded(step: Step, factors: dict[str, Factor]) -> Step:
    if step.name.endswith(".conv1d.weight"):
        return as_convolution(step)
    found = re.fullmatch(r"(?:.*\.)?(\w+)\.(weight|bias)", step.name)
    factor = factors.get(f"{found[1]}.{found[2]}", 1.0) if found else 1.0
    if isinstance(factor, float) and factor == 1.0:
        return step
    if step.is_packed:
        raise InvalidSource('architecture "falcon_h1" with packed weights is not supported yet')

    def scaled(array: Array) -> Array:
        return Array("F32", (array.floats() * factor).astype(np.float32))

    return part(step.name, step, step.shape, scaled)


def _factors(config: dict[str, Any]) -> dict[str, Factor]:
    """What multiplies the weights and biases that end so."""
    one = {key: float(config.get(key, 1.0)) for key in _SINGLE}
    gate, down = config.get("mlp_multipliers") or [1.0, 1.0]
    entering = one["attention_in_multiplier"]
    return {
        "embed_tokens.weight": one["embedding_multiplier"],
        "lm_head.weight": one["lm_head_multiplier"],
        "q_proj.weight": entering,
        "v_proj.weight": entering,
        "k_proj.weight": entering * one["key_multiplier"],
        "k_proj.bias": one["key_multiplier"],
        "o_proj.weight": one["attention_out_multiplier"],
        "o_proj.bias": one["attention_out_multiplier"],
        "out_proj.weight": one["ssm_out_multiplier"],
        "out_proj.bias": one["ssm_out_multiplier"],
        "gate_proj.weight": float(gate),
        "gate_proj.bias": float(gate),
        "down_proj.weight": float(down),
        "down_proj.bias": float(down),
        "in_proj.weight": one["ssm_in_multiplier"] * _rows(config)[:, None],
        "in_proj.bias": _rows(config),
    }


def _rows(config: dict[str, Any]) -> np.ndarray[Any, Any]:
    """The mixer's factor for each row: gate, states, the two projections, time steps."""
    inner = config["mamba_d_ssm"] or config["mamba_expand"] * config["hidden_size"]
    shared = config["mamba_n_groups"] * config["mamba_d_state"]
    sizes = [inner, inner, shared, shared, config["mamba_n_heads"]]
    return np.repeat(config.get("ssm_multipliers") or [1.0] * 5, sizes)
