"""config.json, checked by typed bounds before a model is built from it.

mlx-lm builds whatever it is told: a billion layers, a group size of zero (which ends the process).
"""

import json
import math
from pathlib import Path
from typing import Any

MAX_BYTES = 16 << 20
GROUP_SIZES = (16, 32, 64, 128)
BITS = (2, 3, 4, 5, 6, 8)
MODES = ("affine", "mxfp4", "mxfp8", "nvfp4")

INTEGERS = {
    "num_hidden_layers": (1, 1024),
    "hidden_size": (1, 131_072),
    "intermediate_size": (1, 1 << 21),
    "moe_intermediate_size": (1, 1 << 21),
    "num_attention_heads": (1, 4096),
    "num_key_value_heads": (1, 4096),
    "head_dim": (1, 8192),
    "vocab_size": (1, 4 << 20),
    "max_position_embeddings": (1, 1 << 31),
    "original_max_position_embeddings": (1, 1 << 31),
    "sliding_window": (1, 1 << 31),
    "sliding_window_pattern": (1, 1024),
    "num_experts": (1, 4096),
    "num_local_experts": (1, 4096),
    "num_experts_per_tok": (1, 4096),
    "decoder_sparse_step": (1, 1024),
    "depth": (1, 1024),
    "num_heads": (1, 4096),
    "patch_size": (1, 1024),
}
FLOATS = ("rms_norm_eps", "rope_theta", "rope_local_base_freq", "query_pre_attn_scalar")
REQUIRED = ("num_hidden_layers", "hidden_size", "num_attention_heads", "vocab_size")
CUSTOM_CODE = ("model_file", "auto_map", "custom_pipelines")


class InvalidConfig(ValueError):
    """config.json names a field that no model can have; its text names the field."""


def read(path: Path) -> dict[str, Any]:
    """The checked text config of a config.json; see `check`."""
    return check(read_whole(path))


def read_whole(path: Path) -> Any:
    """config.json as it is."""
    if path.stat().st_size > MAX_BYTES:
        raise InvalidConfig("config.json is too large")
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise InvalidConfig("config.json is not valid json") from None


def check(config: Any) -> dict[str, Any]:
    """The text model's config, rotary settings where mlx-lm looks for them; InvalidConfig otherwise."""
    if not isinstance(config, dict):
        raise InvalidConfig("config.json must be an object")
    _refuse_custom_code(config)
    config = _text_config(config)
    if not isinstance(config.get("model_type"), str):
        raise InvalidConfig("config.json: model_type must be a string")
    for name in REQUIRED:
        if config.get(name) is None:
            raise InvalidConfig(f"config.json: {name} is missing")
    check_numbers(config)
    _check_layer_types(config)
    check_quantization(config.get("quantization"))
    if "num_local_experts" in config:  # transformers 5's one name for it
        config.setdefault("num_experts", config["num_local_experts"])
    return _flatten_rope(config)


def _refuse_custom_code(config: dict[str, Any]) -> None:
    if any(config.get(name) for name in CUSTOM_CODE):
        raise InvalidConfig("model requires custom code, which is not supported")


def _text_config(config: dict[str, Any]) -> dict[str, Any]:
    """A vision model's config keeps the text model's below `text_config`."""
    text = config.get("text_config")
    if text is None:
        return dict(config)
    if not isinstance(text, dict):
        raise InvalidConfig("config.json: text_config must be an object")
    shared = {k: v for k, v in config.items() if k in ("quantization", "tie_word_embeddings")}
    return {**shared, "model_type": config.get("model_type"), **text}


def check_numbers(config: dict[str, Any]) -> None:
    """Of any part of a config: the text model's, or a tower's."""
    for name, (low, high) in INTEGERS.items():
        value = config.get(name)
        if value is None or _is_pattern(name, value):
            continue
        if type(value) is not int or not low <= value <= high:
            raise InvalidConfig(f"config.json: {name} must be between {low} and {high}")
    for name in FLOATS:
        value = config.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidConfig(f"config.json: {name} must be a number")
        if not 0 < value < math.inf:
            raise InvalidConfig(f"config.json: {name} must be positive")


def _is_pattern(name: str, value: Any) -> bool:
    """EXAONE 4 spells the kinds of layers: `LLLG`."""
    return name == "sliding_window_pattern" and isinstance(value, str) and not value.strip("LG")


def _check_layer_types(config: dict[str, Any]) -> None:
    kinds = config.get("layer_types")
    if kinds is None:
        return
    if not isinstance(kinds, list) or not all(isinstance(kind, str) for kind in kinds):
        raise InvalidConfig("config.json: layer_types must be a list of strings")
    if len(kinds) != config["num_hidden_layers"]:
        raise InvalidConfig("config.json: layer_types must name every layer")


def check_quantization(quantization: Any) -> None:
    """The whole model's settings and, by module path, those of single modules."""
    if quantization is None:
        return
    if not isinstance(quantization, dict):
        raise InvalidConfig("config.json: quantization must be an object")
    _check_settings(quantization)
    for value in quantization.values():
        if isinstance(value, dict):
            _check_settings(value)


def _check_settings(settings: dict[str, Any]) -> None:
    for name, allowed in (("group_size", GROUP_SIZES), ("bits", BITS), ("mode", MODES)):
        value = settings.get(name, allowed[0])
        if isinstance(value, bool) or value not in allowed:
            raise InvalidConfig(f"config.json: quantization {name} is not one of {list(allowed)}")


def _flatten_rope(config: dict[str, Any]) -> dict[str, Any]:
    """transformers 5 writes `rope_parameters`; mlx-lm reads `rope_theta` and `rope_scaling`."""
    parameters = config.get("rope_parameters")
    if not isinstance(parameters, dict):
        return config
    flat = dict(config)
    local, parameters = (
        parameters.get("sliding_attention"),
        parameters.get("full_attention", parameters),
    )
    if isinstance(local, dict) and "rope_theta" in local:
        flat.setdefault("rope_local_base_freq", local["rope_theta"])
    if "rope_theta" in parameters:
        flat.setdefault("rope_theta", parameters["rope_theta"])
    if "partial_rotary_factor" in parameters and not isinstance(local, dict):
        flat.setdefault("partial_rotary_factor", parameters["partial_rotary_factor"])
    is_scaled = parameters.get("rope_type", "default") != "default"
    flat.setdefault("rope_scaling", parameters if is_scaled else None)
    check_numbers(flat)
    return flat
