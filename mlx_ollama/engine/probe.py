"""Whether a model's rows can stand side by side: asked of the model itself, once, at load."""

import logging
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from mlx_ollama.engine import mlx_models, rows

log = logging.getLogger(__name__)

PROMPTS = ((1, 2, 3, 4, 5), (3, 1))
TOLERANCE = {mx.float32: 1e-3}


# Plain attention over plain caches: their fixtures show that rows batch, so a load need not compute to find out.
PROVEN = frozenset(
    {"granite", "llama", "mistral", "mixtral", "olmo2", "qwen2", "qwen3", "qwen3_moe"}
)


def make_batchable(model: nn.Module, vocab_size: int, model_type: str = "") -> bool:
    """Whether several rows give what each gives alone, if need be with attention a layer and a row at a time.

    Raises ValueError for a model that cannot decode at all.
    """
    if model_type in PROVEN:
        return True
    if rows_agree(model, vocab_size):
        return True
    rows.loop_attention(model)
    return rows_agree(model, vocab_size)


def rows_agree(model: nn.Module, vocab_size: int) -> bool:
    """Decode two rows alone and together; True when the logits agree to the dtype's precision."""
    alone = [_decode([_prefilled(model, p, vocab_size)], model) for p in PROMPTS]
    mx.eval(alone)
    try:
        together = _decode([_prefilled(model, p, vocab_size) for p in PROMPTS], model)
        mx.eval(together)
    except (TypeError, AttributeError, ValueError, IndexError) as error:
        log.debug("rows do not batch: %s", error)
        return False
    wanted = mx.concatenate(alone)
    scale = mx.maximum(mx.abs(wanted).max(), 1.0)
    tolerance = TOLERANCE.get(wanted.dtype, 5e-2)
    return bool((mx.abs(wanted - together).max() <= tolerance * scale).item())


def _prefilled(model: nn.Module, prompt: tuple[int, ...], vocab_size: int) -> list[Any]:
    caches = mlx_models.new_caches(model)
    mx.eval(model(mx.array([[token % vocab_size for token in prompt]]), cache=caches))
    return caches


def _decode(caches: list[list[Any]], model: nn.Module) -> mx.array:
    """The logits of one token for every row of caches."""
    tokens = mx.zeros((len(caches), 1), dtype=mx.int32)
    if len(caches) == 1:
        return model(tokens, cache=caches[0])[:, -1]
    views = [rows.side_by_side(layer) for layer in zip(*caches, strict=True)]
    offset = mx.array([len(prompt) for prompt in PROMPTS])
    for view in views:
        rows.set_offset(view, offset)
    return model(tokens, cache=views)[:, -1]
