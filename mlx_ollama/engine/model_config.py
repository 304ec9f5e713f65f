"""config.json, checked by typed bounds before a model is built from it.

mlx-lm builds whatever it is told: a billion layers, a group size of zero (which ends the process).
"""

import json
from pathlib import Path
from typing import Any

from converters.errors import SourceError
from converters.safetensors import bounds

MAX_BYTES = 16 << 20
GROUP_SIZES = (16, 32, 64, 128)
BITS = (2, 3, 4, 5, 6, 8)
MODES = ("affine", "mxfp4", "mxfp8", "nvfp4")

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
    try:
        bounds.check_numbers(config)
    except SourceError as error:
        raise InvalidConfig(str(error)) from None


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
