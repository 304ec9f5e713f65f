"""GPT-NeoX: settings and weights under names of their own; masks and frequencies are no weights."""

import re
from typing import Any

from converters.checkpoints import Steps
from converters.checkpoints.names import renamed
from converters.checkpoints.settings import rotary

_NO_WEIGHT = re.compile(r".*\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)")


def arrange(config: dict[str, Any], steps: Steps) -> tuple[dict[str, Any], Steps]:
    found = {**config, **rotary(config)}
    own = {
        "rotary_emb_base": found.get("rope_theta", 10000),
        "rotary_pct": found.get("partial_rotary_factor", 0.25),
    }
    kept = {name: step for name, step in steps.items() if not _NO_WEIGHT.fullmatch(name)}
    return own | config, renamed(kept, _name)


def _name(name: str) -> str:
    inner = name.removeprefix("model.").removeprefix("gpt_neox.")
    return "model." + re.sub(r"^layers\.", "h.", inner)
