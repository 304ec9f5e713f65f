"""What an embedding model says about pooling, in the files of sentence-transformers.

`1_Pooling/config.json` names the pooling, `N_Dense/config.json` the activation of a dense layer after it. A GGUF's
metadata is written into the same files when it is converted.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import mlx.core as mx

from mlx_ollama.engine.embeddings import Embedder, Projection, causal_body
from mlx_ollama.engine.loader import LoadedModel, LoadError

FILE = "1_Pooling/config.json"
DEFAULT = "mean"
# Keys of older files, one flag each; newer ones have one word in `pooling_mode`.
FLAGS = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "last",
    "pooling_mode_max_tokens": "max",
}
WORDS = {"mean": "mean", "cls": "cls", "lasttoken": "last", "max": "max"}
IDENTITY, TANH = "Identity", "Tanh"

ReadObject = Callable[[str], Mapping[str, Any]]  # a JSON file by its name; {} when there is none


def embedder_of(loaded: LoadedModel, read: ReadObject) -> Embedder | None:
    """None where the model's body is not known. Raises LoadError for a pooling that is not ours."""
    body: Any = loaded.model
    if not loaded.is_encoder:
        inner = getattr(loaded.model, "language_model", loaded.model)
        if not hasattr(inner, "model"):
            return None
        body = causal_body(loaded.model)
    return Embedder(body, pooling(read(FILE)), _projections(loaded.projections, read))


def pooling(settings: Mapping[str, Any]) -> str:
    """A key of POOLINGS. Raises LoadError."""
    if not settings:
        return DEFAULT
    word = settings.get("pooling_mode")
    found = [WORDS.get(word, "")] if isinstance(word, str) else []
    found += [FLAGS.get(k, "") for k, v in settings.items() if k.startswith("pooling_mode_") and v]
    if len(found) != 1 or not found[0]:
        raise LoadError("the pooling of this model is not supported yet")
    return found[0]


def _projections(weights: Mapping[str, mx.array], read: ReadObject) -> list[Projection]:
    modules = {name.split(".")[0] for name in weights}
    order = sorted(modules, key=lambda name: int(re.split("_", name)[0]))
    return [_projection(module, weights, read(f"{module}/config.json")) for module in order]


def _projection(
    module: str, weights: Mapping[str, mx.array], settings: Mapping[str, Any]
) -> Projection:
    activation = str(settings.get("activation_function", IDENTITY)).rpartition(".")[2]
    weight = weights.get(f"{module}.linear.weight")
    if activation not in (IDENTITY, TANH) or weight is None:
        raise LoadError(f"{module} of this model is not supported yet")
    bias = weights.get(f"{module}.linear.bias")
    return Projection(weight=weight, bias=bias, is_tanh=activation == TANH)
