"""Qwen3-Next and the text models of Qwen3.5, as mlx-lm has them: norms around one, convolutions turned.

Every how many layers attention is full is a number there.
"""

from typing import Any

import numpy as np

from converters.checkpoints import Steps, experts
from converters.checkpoints.names import as_convolution, renamed
from converters.checkpoints.settings import interval
from converters.checkpoints.stacks import part
from converters.safetensors.arrays import Array
from converters.weights import Step

_INNER = ("qwen3_5_text", "qwen3_5_moe_text")
"""Their class keeps the text model below `language_model`."""
_AROUND_ZERO = (
    ".input_layernorm.weight",
    ".post_attention_layernorm.weight",
    "model.norm.weight",
    ".q_norm.weight",
    ".k_norm.weight",
)


def arrange(config: dict[str, Any], steps: Steps) -> tuple[dict[str, Any], Steps]:
    own = {"full_attention_interval": interval(config, "full_attention_interval", 4)}
    kept = {name: step for name, step in steps.items() if not name.startswith("mtp.")}
    if any(_is_unturned(step) for step in kept.values()):
        kept = {name: _turned(step) for name, step in kept.items()}
    config, made = experts.arrange(config | own, kept)
    return config, renamed(made, _name) if config["model_type"] in _INNER else made


def _name(name: str) -> str:
    return name if name.startswith("language_model.") else f"language_model.{name}"


def _is_unturned(step: Step) -> bool:
    """mlx-lm's own files have the width in the middle, and norms around one."""
    return step.name.endswith(".conv1d.weight") and step.shape[-1] != 1


def _turned(step: Step) -> Step:
    if _is_unturned(step):
        return as_convolution(step)
    if step.name.endswith(_AROUND_ZERO):
        return part(step.name, step, step.shape, _plus_one)
    return step


def _plus_one(array: Array) -> Array:
    """In float32: half precision would round what is learnt."""
    return Array("F32", (array.floats() + 1).astype(np.float32))
