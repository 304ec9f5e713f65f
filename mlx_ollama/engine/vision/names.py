"""Where the names of towers and projectors differ between checkpoints."""

from collections.abc import Mapping, Sequence

import mlx.core as mx


def of_tower(weights: Mapping[str, mx.array], prefixes: Sequence[str]) -> dict[str, mx.array]:
    """What begins with one of `prefixes`, without an outer `model.` and transformers 4's `vision_model.`."""
    renamed = {
        name.removeprefix("model.").replace(".vision_model.", "."): value
        for name, value in weights.items()
    }
    return {name: value for name, value in renamed.items() if name.startswith(tuple(prefixes))}


TOWERS = ("vision_tower.", "multi_modal_projector.", "visual.", "vision_model.", "connector.")
# Where checkpoints keep the language model, and what its parameters are called without a tower beside it.
TEXT = (
    ("language_model.model.", "model."),
    ("language_model.lm_head.", "lm_head."),
    ("model.language_model.", "model."),
    ("model.text_model.", "model."),
)


def of_text(weights: Mapping[str, mx.array]) -> dict[str, mx.array]:
    """The language model's weights out of a checkpoint with a tower, as a text model names them."""
    return {
        _text_name(name): value
        for name, value in weights.items()
        if not name.removeprefix("model.").startswith(TOWERS)
    }


def _text_name(name: str) -> str:
    for outer, inner in TEXT:
        if name.startswith(outer):
            return inner + name.removeprefix(outer)
    return name
