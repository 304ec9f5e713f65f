"""Settings that a class of mlx-lm passes over, so that it would silently answer otherwise: refused by name.

A window over all layers that a class does not know becomes the end of the context, up to which it is exact.
"""

from typing import Any

from converters.checkpoints.settings import Config, rotary
from converters.errors import Unsupported

UNSCALED = frozenset({
    "cohere", "cohere2", "ernie4_5", "ernie4_5_moe", "gemma", "glm", "glm4", "glm4_moe", "gpt_neox",
    "granitemoehybrid", "helium", "lfm2", "lfm2_moe", "phi", "solar_open", "stablelm", "starcoder2",
})  # fmt: skip
"""Their classes scale no rotary embedding."""
WINDOWLESS = frozenset({"dots1", "phimoe", "qwen2_moe", "starcoder2"})
KNOWN: dict[str, dict[str, tuple[Any, ...]]] = {
    "deepseek_v3": {"rope_interleave": (True, None)},
    "glm4_moe_lite": {"rope_interleave": (True, None)},
    "granitemoehybrid": {"mamba_n_groups": (1, None)},
    "mamba2": {"n_groups": (1, None)},
    "ministral3": {"sliding_window": (None,)},
    "olmoe": {"clip_qkv": (None,)},
}
"""The values of a family's settings that its class computes."""


def checked(config: Config) -> Config:
    """The config, its context cut where a window is. Raises Unsupported."""
    family = str(config.get("model_type"))
    for key, values in KNOWN.get(family, {}).items():
        if config.get(key) not in values:
            raise _unknown(family, key)
    kind = rotary(config).get("rope_type", rotary(config).get("type", "default"))
    is_passed_over = family in UNSCALED or (family == "phimoe" and kind == "longrope")
    if is_passed_over and kind != "default":
        raise _unknown(family, "rope_scaling")
    return _cut(config) if family in WINDOWLESS else config


def _cut(config: Config) -> Config:
    window, length = config.get("sliding_window"), config.get("max_position_embeddings")
    kinds = config.get("layer_types")
    if isinstance(kinds, list) and "sliding_attention" not in kinds:
        return config
    if config.get("use_sliding_window") is False or type(window) is not int or window < 1:
        return config
    if type(length) is int and window < length:
        return config | {"max_position_embeddings": window}
    return config


def _unknown(family: str, key: str) -> Unsupported:
    return Unsupported(f'architecture "{family}" with this {key} is not supported yet')
