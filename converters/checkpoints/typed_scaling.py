"""Families whose classes know the kind of rotary scaling as `type` only."""

from typing import Any

from converters.checkpoints import Steps
from converters.checkpoints.settings import rotary


def arrange(config: dict[str, Any], steps: Steps) -> tuple[dict[str, Any], Steps]:
    found = rotary(config)
    kind = found.get("rope_type", found.get("type", "default"))
    if kind == "default":
        return config, steps
    return config | {"rope_scaling": found | {"type": kind}}, steps
