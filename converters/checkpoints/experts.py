"""Mixtures of experts with a matrix for each expert: stacked, under the names that mlx-lm gives the stacks."""

import re
from typing import Any

from converters.checkpoints import Steps
from converters.checkpoints.stacks import stacked
from converters.errors import InvalidSource
from converters.weights import Step

_EXPERT = re.compile(r"(.+)\.experts\.(\d+)\.(\w+)\.weight")
_NAMES = {"w1": "gate_proj", "w2": "down_proj", "w3": "up_proj"}
# transformers 5 calls the number of experts alike in all families.
_COUNT = {"qwen3_moe": "num_experts"}


def arrange(config: dict[str, Any], steps: Steps) -> tuple[dict[str, Any], Steps]:
    groups: dict[str, dict[int, Step]] = {}
    rest: Steps = {}
    for name, step in steps.items():
        found = _EXPERT.fullmatch(name)
        if found is None:
            rest[name] = step
            continue
        leaf = _NAMES.get(found[3], found[3])
        groups.setdefault(f"{found[1]}.switch_mlp.{leaf}.weight", {})[int(found[2])] = step
    made = {name: stacked(name, _in_order(name, parts)) for name, parts in groups.items()}
    return _configured(config), rest | made


def _in_order(name: str, parts: dict[int, Step]) -> list[Step]:
    if set(parts) != set(range(len(parts))):
        raise InvalidSource(f'experts of "{name}" are missing')
    return [parts[i] for i in range(len(parts))]


def _configured(config: dict[str, Any]) -> dict[str, Any]:
    wanted = _COUNT.get(str(config["model_type"]))
    if wanted and wanted not in config and "num_local_experts" in config:
        return {**config, wanted: config["num_local_experts"]}
    return config
