"""GPT-J: settings named as GPT-2's; masks are no weights."""

import re
from typing import Any

from converters.checkpoints import Steps
from converters.checkpoints.names import renamed
from converters.checkpoints.settings import named_as_others

_MASKS = re.compile(r".*\.attn\.(bias|masked_bias)")


def arrange(config: dict[str, Any], steps: Steps) -> tuple[dict[str, Any], Steps]:
    kept = {name: step for name, step in steps.items() if not _MASKS.fullmatch(name)}
    named = renamed(kept, lambda name: name.replace("transformer.", "model.", 1))
    return named_as_others(config), named
