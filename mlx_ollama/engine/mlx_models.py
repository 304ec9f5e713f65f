"""The only importer of mlx_lm.models.

mlx_lm's `__init__` imports transformers (1.1 s, 50 MB and a wide attack surface), so a bare package object
stands in for `mlx_lm`, and only its model and cache modules are imported. Where a class of mlx-lm is wrong,
`mlx_ollama/engine/mends` mends it as soon as it is imported.
"""

import importlib
import importlib.util
import sys
import types
from typing import Any

import mlx.nn as nn

from mlx_ollama.engine import mends, rows

# `model_type` of config.json to the module of mlx_lm.models. An architecture comes in with its fixture.
SUPPORTED = {
    "afmoe": "afmoe",
    "apertus": "apertus",
    "cohere": "cohere",
    "cohere2": "cohere2",
    "deepseek_v2": "deepseek_v2",
    "deepseek_v3": "deepseek_v3",
    "dots1": "dots1",
    "ernie4_5": "ernie4_5",
    "ernie4_5_moe": "ernie4_5_moe",
    "exaone4": "exaone4",
    "exaone_moe": "exaone_moe",
    "falcon_h1": "falcon_h1",
    "gemma": "gemma",
    "gemma2": "gemma2",
    "gemma3": "gemma3_text",
    "gemma3_text": "gemma3_text",
    "gemma4_text": "gemma4_text",
    "glm": "glm",
    "glm4": "glm4",
    "glm4_moe": "glm4_moe",
    "glm4_moe_lite": "glm4_moe_lite",
    "gpt2": "gpt2",
    "gpt_bigcode": "gpt_bigcode",
    "gpt_neox": "gpt_neox",
    "gpt_oss": "gpt_oss",
    "gptj": "gptj",
    "granite": "granite",
    "granitemoe": "granitemoe",
    "granitemoehybrid": "granitemoehybrid",
    "helium": "helium",
    "hunyuan_v1_dense": "hunyuan_v1_dense",
    "jamba": "jamba",
    "lfm2": "lfm2",
    "lfm2_moe": "lfm2_moe",
    "llama": "llama",
    "mamba": "mamba",
    "mamba2": "mamba2",
    "ministral3": "ministral3",
    "mistral": "llama",
    "mixtral": "mixtral",
    "nemotron": "nemotron",
    "nemotron_h": "nemotron_h",
    "olmo2": "olmo2",
    "olmo3": "olmo3",
    "olmoe": "olmoe",
    "phi": "phi",
    "phi3": "phi3",
    "phimoe": "phimoe",
    "qwen2": "qwen2",
    "qwen2_5_vl": "qwen2",
    "qwen2_5_vl_text": "qwen2",
    "qwen2_moe": "qwen2_moe",
    "qwen3": "qwen3",
    "qwen3_5": "qwen3_5",
    "qwen3_5_moe": "qwen3_5_moe",
    "qwen3_5_moe_text": "qwen3_5_moe",
    "qwen3_5_text": "qwen3_5",
    "qwen3_moe": "qwen3_moe",
    "qwen3_next": "qwen3_next",
    "qwen3_vl_text": "qwen3",
    "seed_oss": "seed_oss",
    "smollm3": "smollm3",
    "solar_open": "solar_open",
    "stablelm": "stablelm",
    "starcoder2": "starcoder2",
}


def _register_bare_package() -> None:
    """Let `mlx_lm.models` be imported without running `mlx_lm/__init__.py`."""
    if "mlx_lm" in sys.modules:
        return
    spec = importlib.util.find_spec("mlx_lm")
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError("mlx-lm is not installed")
    package = types.ModuleType("mlx_lm")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["mlx_lm"] = package


def _import(module: str) -> types.ModuleType:
    return importlib.import_module(f"mlx_lm.models.{module}")


_register_bare_package()
# Model modules copy this name when they are imported, so it is replaced before the first of them.
rows.replace_attention(_import("base"))
cache_classes = _import("cache")


def model_module(model_type: str) -> types.ModuleType:
    """The mended module of an architecture; KeyError when it is not supported."""
    name = SUPPORTED[model_type]
    module = _import(name)
    mends.apply(name, module)
    return module


def build(config: dict[str, Any]) -> nn.Module:
    """A model of the config's architecture with weights yet to come."""
    module = model_module(config["model_type"])
    return module.Model(module.ModelArgs.from_dict(config))


def new_caches(model: nn.Module) -> list[Any]:
    """One empty cache a layer, of the kinds that the model wants."""
    return cache_classes.make_prompt_cache(model)
