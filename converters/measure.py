"""How far what is stored is from the source's own values."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from converters.gguf.blocks.dequantize import unpacked
from converters.gguf.blocks.format import Bytes, Floats, Packed
from converters.plan import ArraySpec, Output, array_specs
from converters.rounding import from_stored
from converters.stream import Chunk, SourceFiles, as_floats, converted, read_chunk

SAMPLE_TENSORS = 4
SAMPLE_BYTES = 1 << 20  # of each


def relative_error(outputs: Sequence[Output], dtype: str) -> float:
    """‖stored - source‖ / ‖source‖ over the beginnings of some of the tensors; 0.0 where nothing changes."""
    difference = size = 0.0
    step = max(1, len(outputs) // SAMPLE_TENSORS)
    with SourceFiles() as files:
        for output in outputs[::step]:
            source, ours = _sample(output, dtype, files)
            difference += float(np.square(ours - source, dtype=np.float64).sum())
            size += float(np.square(source, dtype=np.float64).sum())
    return (difference / size) ** 0.5 if size else 0.0


def _sample(output: Output, dtype: str, files: SourceFiles) -> tuple[Floats, Floats]:
    """Rows of the source as floats, and as what they become."""
    part = output.parts[0]
    rows = min(part.num_rows, max(1, SAMPLE_BYTES // part.row_bytes))
    raw = read_chunk(Chunk(part, part.first_row, rows, 0), files)
    source = as_floats(part.tensor, raw)
    if output.values is not None:
        source = output.values(source)
    specs = array_specs(output, dtype)
    return source, _restored(output, specs, converted(output, specs, raw, part.tensor))


def _restored(output: Output, specs: list[ArraySpec], arrays: list[Bytes]) -> Floats:
    """Stored bytes, [rows, …] each, as the values that MLX computes with."""
    kind = output.becomes
    if kind is None:
        return from_stored(arrays[0], specs[0].dtype)
    scales: list[Any] = [
        a if s.dtype == "U8" else from_stored(a, s.dtype)
        for a, s in zip(arrays[1:], specs[1:], strict=True)
    ]
    return unpacked(Packed(arrays[0], scales[0], scales[1] if len(scales) > 1 else None), kind)
