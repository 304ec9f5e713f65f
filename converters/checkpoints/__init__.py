"""What checkpoints of a model type need beyond their names: one file a family, `arrange(config, steps)`.

It gives config.json and the weights as mlx-lm's classes know them. An architecture without a fixture in tests/ is
not in the table, and is refused by name.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from converters.errors import unsupported_architecture
from converters.weights import Step

Steps = dict[str, Step]
Arrange = Callable[[dict[str, Any], Steps], tuple[dict[str, Any], Steps]]

FAMILIES: Mapping[str, str] = {
    "afmoe": "dots1",
    "apertus": "apertus",
    "bert": "plain",
    "cohere": "plain",
    "cohere2": "cohere2",
    "deepseek_v2": "deepseek_v2",
    "deepseek_v3": "deepseek_v3",
    "dots1": "dots1",
    "ernie4_5": "plain",
    "ernie4_5_moe": "experts",
    "exaone4": "exaone4",
    "exaone_moe": "exaone_moe",
    "falcon_h1": "falcon_h1",
    "gemma": "plain",
    "gemma2": "plain",
    "gemma3": "plain",
    "gemma3_text": "plain",
    "gemma4_text": "gemma4_text",
    "glm": "plain",
    "glm4": "plain",
    "glm4_moe": "glm4_moe",
    "glm4_moe_lite": "deepseek_v3",
    "gpt2": "gpt2",
    "gpt_bigcode": "gpt_bigcode",
    "gpt_neox": "gpt_neox",
    "gpt_oss": "gpt_oss",
    "gptj": "gptj",
    "granite": "plain",
    "granitemoe": "granitemoe",
    "granitemoehybrid": "granitemoehybrid",
    "helium": "plain",
    "hunyuan_v1_dense": "typed_scaling",
    "idefics3": "plain",
    "jamba": "jamba",
    "lfm2": "lfm2",
    "lfm2_moe": "lfm2_moe",
    "llama": "plain",
    "llava": "plain",
    "mamba": "mamba2",
    "mamba2": "mamba2",
    "ministral3": "plain",
    "mistral": "plain",
    "mistral3": "plain",
    "mixtral": "experts",
    "modernbert": "plain",
    "nemotron": "typed_scaling",
    "nemotron_h": "nemotron_h",
    "nomic_bert": "nomic_bert",
    "olmo2": "plain",
    "olmo3": "plain",
    "olmoe": "experts",
    "phi": "plain",
    "phi3": "plain",
    "phimoe": "experts",
    "qwen2": "plain",
    "qwen2_5_vl": "plain",
    "qwen2_moe": "qwen2_moe",
    "qwen3": "plain",
    "qwen3_5_moe_text": "qwen3_next",
    "qwen3_5_text": "qwen3_next",
    "qwen3_moe": "experts",
    "qwen3_next": "qwen3_next",
    "qwen3_vl": "plain",
    "roberta": "plain",
    "seed_oss": "plain",
    "smollm3": "plain",
    "smolvlm": "plain",
    "solar_open": "solar_open",
    "stablelm": "plain",
    "starcoder2": "plain",
    "xlm-roberta": "plain",
}


def arrange(config: dict[str, Any], steps: Steps) -> tuple[dict[str, Any], Steps]:
    """Raises Unsupported (`architecture "x" is not supported yet`)."""
    model_type = str(config.get("model_type", ""))
    if model_type not in FAMILIES:
        raise unsupported_architecture(model_type[:64])
    limits = import_module("converters.checkpoints.limits")
    module = import_module(f"converters.checkpoints.{FAMILIES[model_type]}")
    chosen: Arrange = module.arrange
    return chosen(limits.checked(config), steps)
