"""The float types that a conversion can store, and who wants to hear of its progress."""

import sys
from collections.abc import Callable
from typing import Literal

Dtype = Literal["f32", "bf16", "f16"]
Progress = Callable[[str, int, int], None]  # phase, completed bytes, total bytes


def is_compact(dtype: str, compact: bool | None) -> bool:
    """Float32 is for machines without Metal, which dequantise at load anyway: requantising gains nothing."""
    return dtype != "F32" if compact is None else compact


def stored_dtype(dtype: Dtype | None) -> str:
    """In the words of the Safetensors format; None: bfloat16 where Metal computes, else float32."""
    if dtype is None:
        return "BF16" if sys.platform == "darwin" else "F32"
    return dtype.upper()
