"""Every block format against the values that gguf-py gives its blocks."""

import zlib
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from gguf import GGMLQuantizationType, quants

from converters.gguf.blocks.dequantize import dequantized, unpacked
from converters.gguf.blocks.format import Format, Packed
from converters.gguf.blocks.formats import FORMATS
from converters.gguf.blocks.pack import pack, unpack
from converters.gguf.types import BLOCKS
from converters.rounding import from_stored, rounding, stored

NUM_BLOCKS = 300
SCALES_AT = {
    "Q2_K": (80, 82), "Q3_K": (108,), "Q6_K": (208,), "TQ1_0": (52,), "TQ2_0": (64,), "Q4_1": (0, 2),
    "Q5_1": (0, 2), "Q4_K": (0, 2), "Q5_K": (0, 2), "IQ1_M": (), "MXFP4": (), "MXFP4_PAIRS": (), "NVFP4": (),
}  # fmt: skip
EXACT = sorted(name for name, form in FORMATS.items() if form.is_exact and name != "MXFP4_PAIRS")
REQUANTISED = {"Q2_K": 0.06, "Q6_K": 0.006, "IQ1_M": 0.07, "IQ2_XS": 0.07, "IQ2_S": 0.07}


def blocks_of(name: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Random codes under sensible scales."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    raw = random.integers(0, 256, (NUM_BLOCKS, BLOCKS[name][1]), dtype=np.uint8)
    for at in SCALES_AT.get(name, (0,)):
        scale = random.uniform(-0.1, 0.1, NUM_BLOCKS).astype("<f2")
        raw[:, at : at + 2] = scale.view(np.uint8).reshape(-1, 2)
    if name == "MXFP4":
        raw[:, 0] = random.integers(110, 130, NUM_BLOCKS)
    if name == "NVFP4":
        raw[:, :4] = random.integers(1, 0x7E, (NUM_BLOCKS, 4))
    if name == "IQ1_M":
        _spread_scale(raw, random.uniform(0.01, 0.1, NUM_BLOCKS).astype("<f2").view("<u2"))
    if name == "TQ1_0":
        trits = random.integers(-1, 2, (NUM_BLOCKS, 256)).astype(np.float32)
        raw = quants.quantize(trits.reshape(-1), GGMLQuantizationType.TQ1_0).reshape(NUM_BLOCKS, -1)
    return raw


def _spread_scale(raw: Any, scales: Any) -> None:
    """IQ1_M keeps four bits of its scale in each of four words."""
    words = raw[:, 48:].copy().view("<u2")
    for i in range(4):
        words[:, i] = (words[:, i] & 0x0FFF) | ((scales >> (4 * i) & 15) << 12)
    raw[:, 48:] = words.view(np.uint8)


def wanted_values(name: str, raw: Any) -> Any:
    return quants.dequantize(raw.reshape(-1), GGMLQuantizationType[name]).reshape(NUM_BLOCKS, -1)


def relative_error(ours: Any, wanted: Any) -> float:
    return float(np.linalg.norm(ours - wanted) / np.linalg.norm(wanted))


def in_mlx(packed: Packed, form: Format) -> Any:
    """What MLX itself makes of it."""
    kind = form.becomes
    biases = None if packed.biases is None else mx.array(np.ascontiguousarray(packed.biases))
    values = mx.dequantize(
        mx.array(np.ascontiguousarray(packed.codes).reshape(NUM_BLOCKS, -1).view("<u4")),
        mx.array(np.ascontiguousarray(packed.scales)),
        biases,
        group_size=kind.group_size,
        bits=kind.bits,
        mode=kind.mode,
    )
    return np.array(values.astype(mx.float32))


@pytest.mark.parametrize("name", EXACT)
def test_an_exact_format_keeps_every_value(name: str) -> None:
    raw, form = blocks_of(name), FORMATS[name]
    packed = form.repack(raw, lambda scales: scales)
    wanted = wanted_values(name, raw)
    assert relative_error(unpacked(packed, form.becomes), wanted) < 1e-7
    assert relative_error(in_mlx(packed, form), wanted) < 1e-6


@pytest.mark.parametrize("name", REQUANTISED)
def test_a_requantised_format_stays_within_its_error(name: str) -> None:
    raw, form = blocks_of(name), FORMATS[name]
    wanted = wanted_values(name, raw)
    assert relative_error(dequantized(raw, form), wanted) < 1e-6
    packed = form.repack(raw, lambda scales: scales)
    assert 1e-4 < relative_error(unpacked(packed, form.becomes), wanted) < REQUANTISED[name]


@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"MXFP4", "MXFP4_PAIRS", "NVFP4"}))
def test_half_precision_scales_cost_half_a_percent_at_most(name: str) -> None:
    raw, form = blocks_of(name), FORMATS[name]
    exact = unpacked(form.repack(raw, lambda scales: scales), form.becomes)
    rounded = form.repack(raw, rounding("BF16"))
    assert rounded.biases is not None
    halves = [
        from_stored(stored(a, "BF16").view(np.uint8), "BF16")
        for a in map(np.ascontiguousarray, (rounded.scales, rounded.biases))
    ]
    ours = unpacked(rounded._replace(scales=halves[0], biases=halves[1]), form.becomes)
    assert relative_error(ours, exact) < (6e-3 if form.is_exact else 2e-2)


def test_ollamas_first_mxfp4_keeps_neighbours_together() -> None:
    pairs = blocks_of("MXFP4")
    codes = np.stack([pairs[:, 1:] & 15, pairs[:, 1:] >> 4], axis=-1).reshape(NUM_BLOCKS, 32)
    halves = pairs.copy()
    halves[:, 1:] = codes[:, :16] | codes[:, 16:] << 4
    ours = FORMATS["MXFP4_PAIRS"].repack(pairs, lambda scales: scales)
    theirs = FORMATS["MXFP4"].repack(halves, lambda scales: scales)
    assert np.array_equal(ours.codes, theirs.codes)


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
def test_packing_is_undone_by_unpacking(bits: int) -> None:
    codes = np.random.default_rng(bits).integers(0, 1 << bits, (7, 64), dtype=np.uint8)
    assert np.array_equal(unpack(pack(codes, bits), bits), codes)


def test_bfloat16_is_rounded_to_even_and_keeps_infinities() -> None:
    values = np.array(
        [1.0, 1.00390625, 1.01171875, -3.3895e38, np.inf, -np.inf, np.nan], np.float32
    )
    wanted = np.array(mx.array(values).astype(mx.bfloat16).astype(mx.float32))
    ours = from_stored(stored(values, "BF16").view(np.uint8), "BF16")
    assert np.array_equal(ours, wanted, equal_nan=True)
