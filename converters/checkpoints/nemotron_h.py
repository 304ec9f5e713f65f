"""Nemotron-H: a letter or a word a layer, and experts of two matrices."""

from typing import Any

from converters.checkpoints import Steps, experts
from converters.checkpoints.names import renamed
from converters.checkpoints.settings import finite

_NAMES = {".switch_mlp.up_proj.": ".switch_mlp.fc1.", ".switch_mlp.down_proj.": ".switch_mlp.fc2."}


def arrange(config: dict[str, Any], steps: Steps) -> tuple[dict[str, Any], Steps]:
    kinds = config.get("layers_block_type") or config.get("hybrid_override_pattern") or []
    config, steps = experts.arrange({"num_hidden_layers": len(kinds)} | finite(config), steps)
    kept = {name: step for name, step in steps.items() if not name.startswith("mtp.")}
    return config, renamed(kept, _name)


def _name(name: str) -> str:
    for old, new in _NAMES.items():
        name = name.replace(old, new)
    return name
