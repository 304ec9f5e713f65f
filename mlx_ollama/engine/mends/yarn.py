"""YaRN's frequencies (arXiv 2309.00071, section 3.2), with the range of blended dimensions left exact."""

import math
from typing import Any


def magnitude(factor: float) -> float:
    """What queries and keys are scaled by (equation 22)."""
    return 0.1 * math.log(factor) + 1.0 if factor > 1 else 1.0


def frequencies(dims: int, base: float, scaling: dict[str, Any]) -> list[float]:
    """One a pair of dimensions: as trained where it turns often, divided by the factor where it hardly
    turns at all, blended linearly between."""
    original = scaling["original_max_position_embeddings"]
    low = _dimension_that_turns(scaling.get("beta_fast", 32.0), dims, base, original)
    high = _dimension_that_turns(scaling.get("beta_slow", 1.0), dims, base, original)
    low, high = max(low, 0.0), min(high, dims - 1.0)
    width = max(high - low, 1e-3)
    found: list[float] = []
    for i in range(dims // 2):
        trained = base ** (-2 * i / dims)
        share = min(max((i - low) / width, 0.0), 1.0)
        found.append(trained * (1 - share) + trained / scaling["factor"] * share)
    return found


def _dimension_that_turns(times: float, dims: int, base: float, length: int) -> float:
    """The (fractional) pair of dimensions that rotates `times` over `length` positions."""
    return dims * math.log(length / (times * 2 * math.pi)) / (2 * math.log(base))
