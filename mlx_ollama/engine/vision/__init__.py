"""Images to token features: one file a family, each with `build(config, processor) -> VisionModel`.

`config` is the whole config.json of the model, `processor` the image processor's settings ({} when the model has
none). Parameter names are those of transformers 5, without the prefix of the tower.
"""

from importlib import import_module
from typing import Any

from mlx_ollama.engine.vision.model import VisionModel

# `model_type` of config.json to the module here.
FAMILIES = {
    "gemma3": "gemma3",
    "idefics3": "idefics3",
    "llava": "llava",
    "mistral3": "mistral3",
    "qwen2_5_vl": "qwen2_5_vl",
    "qwen3_vl": "qwen3_vl",
    "smolvlm": "idefics3",
}


def build(config: dict[str, Any], processor: dict[str, Any]) -> VisionModel:
    """The tower and projector of a model; KeyError when its family has none here."""
    module = import_module(f"mlx_ollama.engine.vision.{FAMILIES[config['model_type']]}")
    # transformers 5 nests the image processor's settings in those of the whole processor.
    return module.build(config, processor.get("image_processor", processor))
