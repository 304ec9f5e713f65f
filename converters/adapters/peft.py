"""PEFT's LoRA adapters: adapter_model.safetensors with `….lora_A.weight` (rank, in), `….lora_B.weight` (out, rank)
under the base's own module names, and adapter_config.json with alpha and rank, for all or by pattern."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from converters.adapters.part import (
    AdapterPart,
    Settings,
    check_halves,
    check_rank,
    check_type,
    check_values,
    module_path,
    refuse_reweighted,
)
from converters.architectures.family import Config
from converters.errors import InvalidSource, Unsupported
from converters.inventory import Tensor
from converters.safetensors.arrays import read_array

_NAME = re.compile(r"(?:base_model\.model\.)?(.+)\.lora_([AB])(?:\.default)?\.weight")
# Names and dots, with a few wildcards: what cannot take long to match.
_PATTERN = re.compile(r"(?:[\w^$-]|\\\.|\.\*?|\\d\+?)+")
_MAX_WILDCARDS = 3
# What changes the computation in a way of its own, and the values that leave it as LoRA.
_PLAIN: Mapping[str, tuple[Any, ...]] = {
    "use_dora": (None, False),
    "use_qalora": (None, False),
    "use_bdlora": (None, False),
    "lora_bias": (None, False),
    "bias": (None, "none"),
    "modules_to_save": (None, []),
    "layer_replication": (None, []),
    "target_parameters": (None, []),
    "trainable_token_indices": (None, [], {}),
    "alora_invocation_tokens": (None, []),
    "arrow_config": (None,),
    "init_lora_weights": (None, True, False, "gaussian", "eva", "orthogonal"),
}


class Scaling(NamedTuple):
    """alpha / rank, or alpha / √rank; patterns win over what holds for all."""

    alpha: float
    rank: int
    by_root: bool
    alphas: Mapping[str, float]
    ranks: Mapping[str, int]

    def of(self, path: str, rank: int) -> float:
        """For the module `path` of the base, whose matrices have `rank`."""
        stated = _matching(self.ranks, path, self.rank)
        if stated != rank:
            raise InvalidSource(f'the adapter\'s "{path}" has rank {rank} instead of {stated}')
        alpha = _matching(self.alphas, path, self.alpha)
        return alpha / (math.sqrt(rank) if self.by_root else rank)


def read(tensors: list[Tensor], settings: Settings, config: Config) -> Iterator[AdapterPart]:
    """Raises InvalidSource and Unsupported."""
    refuse_reweighted(config)
    scaling = scaling_of(settings)
    for name, (a, b) in pairs(tensors).items():
        check_rank(name, a.shape, b.shape)
        part = AdapterPart(
            module=module_path(name),
            down=read_array(a).floats(),
            up=read_array(b).floats(),
            scale=scaling.of(name, a.shape[0]),
        )
        yield check_values(part)


def scaling_of(found: Settings) -> Scaling:
    """Of adapter_config.json, which is refused where it says more than this can do."""
    _check_plain(found)
    patterns = {key: _patterns(found, key) for key in ("alpha_pattern", "rank_pattern")}
    return Scaling(
        alpha=_number("lora_alpha", found.get("lora_alpha", 8)),
        rank=_rank("r", found.get("r", 8)),
        by_root=found.get("use_rslora") is True,
        alphas={k: _number("alpha_pattern", v) for k, v in patterns["alpha_pattern"].items()},
        ranks={k: _rank("rank_pattern", v) for k, v in patterns["rank_pattern"].items()},
    )


def _check_plain(found: Settings) -> None:
    if found.get("peft_type") != "LORA":
        raise Unsupported(f"adapters of type {_shown(found.get('peft_type'))} are not supported")
    if found.get("use_dora"):
        raise Unsupported("DoRA adapters are not supported: they rescale the base's weights")
    for key, plain in _PLAIN.items():
        value = found.get(key)
        if not any(value is p or (type(value) is type(p) and value == p) for p in plain):
            raise Unsupported(f"adapters with {key} {_shown(value)} are not supported")


def _shown(value: Any) -> str:
    return json.dumps(value)[:64]


def _number(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
        raise InvalidSource(f'key "{key}" of adapter_config.json is no positive number')
    return float(value)


def _rank(key: str, value: Any) -> int:
    number = _number(key, value)
    if number != int(number):
        raise InvalidSource(f'key "{key}" of adapter_config.json is no whole number')
    return int(number)


def _patterns(found: Settings, key: str) -> dict[str, Any]:
    value = found.get(key) or {}
    if not isinstance(value, dict):
        raise InvalidSource(f'key "{key}" of adapter_config.json is no object')
    for pattern in value:
        wild = pattern.count("*") + pattern.count("+")
        if len(pattern) > 256 or wild > _MAX_WILDCARDS or not _PATTERN.fullmatch(pattern):
            raise Unsupported(f"the pattern {_shown(pattern)} of {key} is not supported")
    return value


def _matching(values: Mapping[str, Any], path: str, default: Any) -> Any:
    """Of the first pattern that is the path or its end."""
    for pattern, value in values.items():
        if re.match(rf"(?:.*\.)?(?:{pattern})$", path):
            return value
    return default


def pairs(tensors: list[Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """By the base's module: what goes down, what goes up. Every tensor is one of them, or it is an error."""
    halves: dict[str, dict[str, Tensor]] = {}
    for tensor in tensors:
        match = _NAME.fullmatch(tensor.name)
        if match is None:
            raise Unsupported(f'tensor "{tensor.name}" of the adapter is not supported')
        check_type(tensor.name, tensor.type)
        if halves.setdefault(match[1], {}).setdefault(match[2], tensor) is not tensor:
            raise InvalidSource(f'the adapter has "{match[1]}" twice')
    check_halves(halves)
    return {name: (pair["A"], pair["B"]) for name, pair in halves.items()}
