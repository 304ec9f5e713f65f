"""Our own text encoders (mlx-lm has none): one file a family, each with `ModelArgs` and `Model`.

`Model(ids, mask)`: ids (rows, length) int32 padded on the right, mask (rows, length) bool, true where a token is;
returns hidden states (rows, length, width). Parameter names are those of transformers 5.
"""

from importlib import import_module
from typing import Any

import mlx.nn as nn

# `family` to the module here.
FAMILIES = {
    "bert": "bert",
    "gemma_embedding": "gemma_embedding",
    "roberta": "bert",
    "xlm-roberta": "bert",
    "modernbert": "modernbert",
    "nomic_bert": "nomic_bert",
}


def family(config: dict[str, Any]) -> str:
    """The encoder family of a config.json, or its `model_type` when it is none of ours."""
    if config.get("use_bidirectional_attention"):
        return "gemma_embedding"
    return str(config.get("model_type", ""))


def build(config: dict[str, Any]) -> nn.Module:
    """An encoder of the config's family with weights yet to come; KeyError when it has none here."""
    module = import_module(f"mlx_ollama.engine.encoders.{FAMILIES[family(config)]}")
    return module.Model(module.ModelArgs.from_dict(config))
