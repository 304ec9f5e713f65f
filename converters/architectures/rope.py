"""Rotary position scaling: metadata and tables of a GGUF to config.json's `rope_scaling`."""

import math
from collections.abc import Sequence
from typing import Any

from converters.architectures.family import Source
from converters.gguf.cursor import invalid
from converters.gguf.floats import small_floats

TABLE = "rope_freqs.weight"


def scaling(source: Source, base: float) -> dict[str, Any] | None:
    """None where positions are not scaled."""
    if source.has(TABLE):
        return _llama3(small_floats(source.tensor(TABLE)), base)
    kind = source.h.text("rope.scaling.type", "none")
    if kind == "linear":
        return _named("linear") | {"factor": source.h.number("rope.scaling.factor")}
    if kind == "yarn":
        return _yarn(source)
    if kind not in ("none", "longrope"):
        invalid(
            f'key "{source.h.architecture}.rope.scaling.type" has the unknown value "{kind[:40]}"'
        )
    return None


def _named(kind: str) -> dict[str, Any]:
    return {"type": kind, "rope_type": kind}  # older and newer readers' key


def _yarn(source: Source) -> dict[str, Any]:
    h = source.h
    return _named("yarn") | {
        "factor": h.number("rope.scaling.factor"),
        "original_max_position_embeddings": h.count("rope.scaling.original_context_length"),
        "beta_fast": h.number("rope.scaling.yarn_beta_fast", 32.0),
        "beta_slow": h.number("rope.scaling.yarn_beta_slow", 1.0),
    }


def _llama3(table: Sequence[float], base: float) -> dict[str, Any] | None:
    """llama 3.1's scaling is stored as its outcome, a divisor per frequency; the parameters are found again.

    Between wavelengths of original/high and original/low the divisor goes smoothly from 1 to `factor`.
    Any parameters that give the table are right; the original length follows from one entry in between.
    """
    if all(abs(value - 1) < 1e-6 for value in table):
        return None
    factor = round(max(table), 4)
    wavelengths = [2 * math.pi * base ** (i / len(table)) for i in range(len(table))]
    candidates = _original_lengths(table, wavelengths, factor)
    found = (n for n in candidates if _matches(table, wavelengths, factor, n))
    original = next(found, None)
    if original is None:
        invalid(f'tensor "{TABLE}" is not a llama 3 frequency table')
    return _named("llama3") | {
        "factor": factor,
        "low_freq_factor": LOW,
        "high_freq_factor": HIGH,
        "original_max_position_embeddings": original,
    }


LOW, HIGH = 1.0, 4.0


def _original_lengths(table: Sequence[float], wavelengths: list[float], factor: float) -> list[int]:
    """Candidates: what each in-between entry says, then the powers of two."""
    found: list[int] = []
    for divisor, wavelength in zip(table, wavelengths, strict=True):
        if 1 + 1e-4 < divisor < factor * (1 - 1e-4):
            smooth = (1 / divisor - 1 / factor) / (1 - 1 / factor)
            found.append(round(wavelength * (smooth * (HIGH - LOW) + LOW)))
    return [*dict.fromkeys(found), *(1 << bits for bits in range(5, 21))]


def _matches(
    table: Sequence[float], wavelengths: list[float], factor: float, original: int
) -> bool:
    pairs = zip(table, wavelengths, strict=True)
    return all(abs(t - _divisor(w, factor, original)) <= 1e-4 * t for t, w in pairs)


def _divisor(wavelength: float, factor: float, original: int) -> float:
    smooth = min(max((original / wavelength - LOW) / (HIGH - LOW), 0.0), 1.0)
    return 1 / ((1 - smooth) / factor + smooth)
