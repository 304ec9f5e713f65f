"""A model's numbers in GGUF metadata, believed only within bounds: each error names its key."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from converters.gguf.cursor import invalid

MAX_COUNT = 1 << 24
MAX_LAYERS = 1024
_REQUIRED: Any = object()


class Hyperparameters:
    """Keys are given without the architecture: `count("block_count")` reads `llama.block_count`."""

    def __init__(self, metadata: Mapping[str, Any], architecture: str) -> None:
        self.metadata, self.architecture = metadata, architecture

    def __contains__(self, key: str) -> bool:
        return f"{self.architecture}.{key}" in self.metadata

    def raw(self, key: str, default: Any = None) -> Any:
        return self.metadata.get(f"{self.architecture}.{key}", default)

    def count(
        self, key: str, default: Any = _REQUIRED, *, maximum: int = MAX_COUNT, least: int = 1
    ) -> int:
        """An integer from `least` to `maximum`. A list counts as its largest entry."""
        value = self._get(key, default)
        if value is default:
            return value
        values: list[Any] = list(value) if isinstance(value, Sequence) else [value]
        if not values or not all(type(v) is int and 0 <= v <= maximum for v in values):
            self._out_of_range(key)
        if max(values) < least:
            self._out_of_range(key)
        return max(values)

    def counts(self, key: str, num_layers: int, default: Any = _REQUIRED) -> list[int]:
        """One integer a layer, whether the file has a list or one for all."""
        value = self._get(key, default)
        values = list(value) if isinstance(value, Sequence) else [value] * num_layers
        if len(values) < num_layers or not all(
            type(v) is int and 0 <= v <= MAX_COUNT for v in values
        ):
            self._out_of_range(key)
        return values[:num_layers]

    def flags(self, key: str, num_layers: int) -> list[bool]:
        """One truth value a layer."""
        value = self._get(key, _REQUIRED)
        if not isinstance(value, Sequence) or len(value) < num_layers:
            self._out_of_range(key)
        return [bool(v) for v in value[:num_layers]]

    def number(self, key: str, default: Any = _REQUIRED) -> float:
        """A finite number above 0."""
        value = self._get(key, default)
        if value is default:
            return value
        if isinstance(value, bool) or not isinstance(value, int | float):
            self._out_of_range(key)
        if not (math.isfinite(value) and value > 0):
            self._out_of_range(key)
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        value = self._get(key, default)
        if type(value) is not bool and value not in (0, 1):
            self._out_of_range(key)
        return bool(value)

    def text(self, key: str, default: str) -> str:
        value = self._get(key, default)
        if not isinstance(value, str):
            self._out_of_range(key)
        return value

    def _get(self, key: str, default: Any) -> Any:
        value = self.raw(key, default)
        if value is _REQUIRED:
            invalid(f'key "{self.architecture}.{key}" is missing')
        return value

    def _out_of_range(self, key: str) -> Any:
        invalid(f'key "{self.architecture}.{key}" is out of range')
