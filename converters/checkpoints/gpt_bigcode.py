"""StarCoder 1: settings named as GPT-2's; one head of keys and values."""

import re
from typing import Any

from converters.checkpoints import Steps
from converters.checkpoints.settings import named_as_others
from converters.errors import Unsupported

_MASKS = re.compile(r".*\.attn\.(bias|masked_bias)")


def arrange(config: dict[str, Any], steps: Steps) -> tuple[dict[str, Any], Steps]:
    if not config.get("multi_query", True):
        raise Unsupported('architecture "gpt_bigcode" without multi_query is not supported yet')
    kept = {name: step for name, step in steps.items() if not _MASKS.fullmatch(name)}
    kept.pop("lm_head.weight", None)  # the embeddings again
    config = named_as_others(config)
    inner = config.get("n_inner") or 4 * config.get("hidden_size", 0)
    return config | {"n_inner": inner}, kept
