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
    "bert": "plain",
    "gemma2": "plain",
    "gemma3": "plain",
    "gemma3_text": "plain",
    "gpt_oss": "gpt_oss",
    "granite": "plain",
    "idefics3": "plain",
    "llama": "plain",
    "llava": "plain",
    "mistral": "plain",
    "mistral3": "plain",
    "mixtral": "experts",
    "modernbert": "plain",
    "nomic_bert": "plain",
    "olmo2": "plain",
    "phi3": "plain",
    "qwen2": "plain",
    "qwen2_5_vl": "plain",
    "qwen3": "plain",
    "qwen3_moe": "experts",
    "qwen3_vl": "plain",
    "roberta": "plain",
    "smolvlm": "plain",
    "xlm-roberta": "plain",
}


def arrange(config: dict[str, Any], steps: Steps) -> tuple[dict[str, Any], Steps]:
    """Raises Unsupported (`architecture "x" is not supported yet`)."""
    model_type = str(config.get("model_type", ""))
    if model_type not in FAMILIES:
        raise unsupported_architecture(model_type[:64])
    module = import_module(f"converters.checkpoints.{FAMILIES[model_type]}")
    chosen: Arrange = module.arrange
    return chosen(config, steps)
