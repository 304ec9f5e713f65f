"""LFM2 MoE: its projections are w1 to w3 in dense layers too."""

import re
from typing import Any

from converters.checkpoints import Steps, experts
from converters.checkpoints.names import renamed

_NAMES = {"w1": "gate_proj", "w2": "down_proj", "w3": "up_proj"}


def arrange(config: dict[str, Any], steps: Steps) -> tuple[dict[str, Any], Steps]:
    config, steps = experts.arrange(config, steps)
    return config, renamed(steps, _name)


def _name(name: str) -> str:
    return re.sub(r"\.(w[123])\.(weight)$", lambda m: f".{_NAMES[m[1]]}.{m[2]}", name)
