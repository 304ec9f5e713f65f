"""GPT-2: matrices lie transposed, and its settings have names of their own."""

import re
from typing import Any

from converters.checkpoints import Steps
from converters.checkpoints.names import renamed, transposed
from converters.checkpoints.settings import named_as_others
from converters.errors import Unsupported

_TURNED = re.compile(r".*\.(c_attn|c_proj|c_fc)\.weight")
_MASKS = re.compile(r".*\.attn\.(bias|masked_bias)")
_PLAIN = {"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False}


def arrange(config: dict[str, Any], steps: Steps) -> tuple[dict[str, Any], Steps]:
    for key, value in _PLAIN.items():
        if config.get(key, value) != value:
            raise Unsupported(f'architecture "gpt2" with {key} is not supported yet')
    kept = {name: step for name, step in steps.items() if not _MASKS.fullmatch(name)}
    named = renamed(kept, lambda name: f"model.{name.removeprefix('transformer.')}")
    named.pop("model.lm_head.weight", None)  # the embeddings again
    made = {n: transposed(step) if _TURNED.fullmatch(n) else step for n, step in named.items()}
    return named_as_others(config), made
