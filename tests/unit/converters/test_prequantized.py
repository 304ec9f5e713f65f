"""Pre-quantised checkpoints: written here by each format's definition, read back as the same numbers."""

import json
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from safetensors.numpy import save_file

from converters import prequantized
from converters.errors import Unsupported
from converters.prequantized.fp8 import E4M3
from converters.quantize.affine import quantize
from converters.safetensors import checkpoint
from converters.safetensors.arrays import Array
from converters.safetensors.checkpoint import files_of
from converters.weights import Packed
from tests.unit.converters.test_quantize import read_by_mlx

RANDOM = np.random.default_rng(11)
OUT, IN, GROUP = 48, 256, 128
Numbers = np.ndarray[Any, Any]


def steps(folder: Path, config: dict[str, Any], tensors: dict[str, Numbers]) -> dict[str, Any]:
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", **config}))
    plain = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    save_file(plain, folder / "model.safetensors")
    return prequantized.steps(checkpoint.read(files_of(folder)))


def retype(folder: Path, name: str, dtype: str) -> None:
    """numpy cannot write FP8: the bytes are there, the header says U8."""
    path = folder / "model.safetensors"
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    header[name]["dtype"] = dtype
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + length :])


def value(step: Any) -> Numbers:
    made = step.make()
    assert made.data.shape == step.shape if isinstance(made, Array) else True
    if isinstance(made, Array):
        return made.floats()
    got = read_by_mlx(made)
    assert got.shape == step.shape
    return got if made.global_scale is None else got * made.global_scale.data[0]


def codes(bits: int = 4) -> Numbers:
    return RANDOM.integers(0, 1 << bits, (OUT, IN)).astype(np.uint32)


def scales() -> Numbers:
    return RANDOM.uniform(0.01, 0.1, (OUT, IN // GROUP)).astype(np.float16)


def words(values: Numbers, order: tuple[int, ...] = tuple(range(8))) -> Numbers:
    """(rows, 8 n) codes to int32 words; `order[i]`: the nibble of each i-th code."""
    shifts = np.array(order, np.uint32) * 4
    return (values.reshape(len(values), -1, 8) << shifts).sum(-1).astype(np.uint32).view(np.int32)


def lattice(code: Numbers, scale: Numbers, zero: Numbers) -> Numbers:
    wide = [np.repeat(part.astype(np.float32), GROUP, axis=1) for part in (scale, zero)]
    return wide[0] * (code.astype(np.float32) - wide[1])


def test_gptq_zeros_are_one_less_than_meant(tmp_path: Path) -> None:
    code, scale = codes(), scales()
    zero = RANDOM.integers(1, 16, scale.shape).astype(np.uint32)
    found = steps(
        tmp_path,
        {"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": GROUP}},
        {
            "a.qweight": words(code).T,
            "a.qzeros": words((zero - 1).T),
            "a.scales": scale.T,
            "a.g_idx": (np.arange(IN) // GROUP).astype(np.int32),
            "norm.weight": np.ones(4, np.float16),
        },
    )
    assert isinstance(found["a.weight"].make(), Packed)
    np.testing.assert_allclose(value(found["a.weight"]), lattice(code, scale, zero), atol=1e-5)
    assert set(found) == {"a.weight", "norm.weight"}


def test_gptq_with_reordered_groups_is_decoded(tmp_path: Path) -> None:
    code, scale = codes(), scales()
    zero = np.full(scale.shape, 8, np.uint32)
    groups = RANDOM.permutation(np.arange(IN) // GROUP).astype(np.int32)
    found = steps(
        tmp_path,
        {"quantization_config": {"quant_method": "gptq", "bits": 4}},
        {
            "a.qweight": words(code).T,
            "a.qzeros": words((zero - 1).T),
            "a.scales": scale.T,
            "a.g_idx": groups,
        },
    )
    wanted = scale.astype(np.float32)[:, groups] * (code.astype(np.float32) - 8)
    np.testing.assert_allclose(value(found["a.weight"]), wanted, rtol=2**-8)


def test_awq_words_hold_the_outputs_in_their_own_order(tmp_path: Path) -> None:
    code, scale = codes(), scales()
    zero = RANDOM.integers(0, 16, scale.shape).astype(np.uint32)
    order = (0, 4, 1, 5, 2, 6, 3, 7)
    found = steps(
        tmp_path,
        {"quantization_config": {"quant_method": "awq", "bits": 4, "version": "gemm"}},
        {
            "a.qweight": words(code.T, order),
            "a.qzeros": words(zero.T, order),
            "a.scales": scale.T,
        },
    )
    np.testing.assert_allclose(value(found["a.weight"]), lattice(code, scale, zero), atol=1e-5)


def compressed(form: str, **weights: Any) -> dict[str, Any]:
    group = {"weights": weights, "targets": ["Linear"]}
    settings = {"quant_method": "compressed-tensors", "format": form}
    return {"quantization_config": {**settings, "config_groups": {"group_0": group}}}


def test_compressed_tensors_packed_integers(tmp_path: Path) -> None:
    code, scale = codes(), scales()
    zero = RANDOM.integers(0, 16, scale.shape).astype(np.uint32)
    found = steps(
        tmp_path,
        compressed("pack-quantized", num_bits=4, type="int", symmetric=False),
        {
            "a.weight_packed": words(code),
            "a.weight_scale": scale,
            "a.weight_zero_point": words(zero.T).T,
            "a.weight_shape": np.array([OUT, IN]),
        },
    )
    np.testing.assert_allclose(value(found["a.weight"]), lattice(code, scale, zero), atol=1e-5)
    assert set(found) == {"a.weight"}


def test_compressed_tensors_plain_integers_with_a_scale_a_row(tmp_path: Path) -> None:
    whole = RANDOM.integers(-128, 128, (OUT, IN)).astype(np.int8)
    scale = RANDOM.uniform(0.01, 0.1, (OUT, 1)).astype(np.float32)
    found = steps(
        tmp_path,
        compressed("int-quantized", num_bits=8, type="int", symmetric=True),
        {"a.weight": whole, "a.weight_scale": scale, "b.weight": np.ones((4, 4), np.float32)},
    )
    np.testing.assert_allclose(value(found["a.weight"]), whole * scale, atol=1e-5)
    np.testing.assert_array_equal(value(found["b.weight"]), np.ones((4, 4)))


def few_bit_floats(mode: str) -> tuple[Numbers, Numbers, Numbers]:
    """Bytes and scales of random weights, and what they mean."""
    source = mx.array(RANDOM.standard_normal((OUT, IN)).astype(np.float32))
    packed, scale = mx.quantize(source, mode=mode)[:2]
    meaning = np.array(mx.dequantize(packed, scale, mode=mode).astype(mx.float32))
    return np.array(packed).view(np.uint8), np.array(scale), meaning


@pytest.mark.parametrize("dialect", ["compressed-tensors", "modelopt"])
def test_nvfp4_keeps_its_scale_of_all(tmp_path: Path, dialect: str) -> None:
    packed, scale, meaning = few_bit_floats("nvfp4")
    factor = np.array([0.25], np.float32)
    if dialect == "modelopt":
        config = {"quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"}}
        tensors = {"a.weight": packed, "a.weight_scale": scale, "a.weight_scale_2": factor}
    else:
        config = compressed("nvfp4-pack-quantized", num_bits=4, type="float")
        tensors = {
            "a.weight_packed": packed,
            "a.weight_scale": scale,
            "a.weight_global_scale": 1 / factor,
            "a.input_global_scale": factor,
        }
    steps(tmp_path, config, tensors)
    retype(tmp_path, "a.weight_scale", "F8_E4M3")
    found = prequantized.steps(checkpoint.read(files_of(tmp_path)))
    np.testing.assert_allclose(value(found["a.weight"]), meaning * 0.25, rtol=1e-6)
    assert set(found) == {"a.weight"}


def test_mxfp4_of_experts(tmp_path: Path) -> None:
    packed, scale, meaning = few_bit_floats("mxfp4")
    blocks = packed.reshape(2, OUT // 2, IN // 32, 16)
    found = steps(
        tmp_path,
        {"quantization_config": {"quant_method": "mxfp4"}},
        {
            "e.down_proj_blocks": blocks,
            "e.down_proj_scales": scale.reshape(2, OUT // 2, -1),
            "e.down_proj_bias": np.zeros((2, 4), np.float32),
        },
    )
    np.testing.assert_array_equal(value(found["e.down_proj"]), meaning.reshape(2, OUT // 2, IN))
    assert set(found) == {"e.down_proj", "e.down_proj_bias"}


@pytest.mark.parametrize("shape", [(1, 1), (OUT, 1), (1, 2)], ids=["tensor", "rows", "blocks"])
def test_fp8_is_decoded_with_its_scales(tmp_path: Path, shape: tuple[int, int]) -> None:
    code = RANDOM.integers(0, 0x7F, (OUT, IN)).astype(np.uint8)
    scale = RANDOM.uniform(0.5, 2, shape).astype(np.float32)
    settings = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    name = "a.weight_scale_inv" if shape == (1, 2) else "a.weight_scale"
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "llama", "quantization_config": settings})
    )
    save_file({"a.weight": code, name: scale}, tmp_path / "model.safetensors")
    retype(tmp_path, "a.weight", "F8_E4M3")
    found = prequantized.steps(checkpoint.read(files_of(tmp_path)))
    wide = np.repeat(scale, 128, axis=1)[:, :IN] if shape == (1, 2) else scale
    np.testing.assert_allclose(value(found["a.weight"]), E4M3[code] * wide, rtol=2**-8)


def test_mlx_directories_are_copied(tmp_path: Path) -> None:
    source = Array("F16", RANDOM.standard_normal((OUT, IN)).astype(np.float16))
    four, six = quantize(source, 4, 64), quantize(source, 6, 64)
    settings = {"group_size": 64, "bits": 4, "b": {"group_size": 64, "bits": 6}}
    tensors = {"norm.weight": np.ones(4, np.float16)}
    for name, packed in (("a", four), ("b", six)):
        assert packed.bias is not None
        tensors |= {
            f"{name}.weight": packed.weight.data,
            f"{name}.scales": packed.scale.data,
            f"{name}.biases": packed.bias.data,
        }
    found = steps(tmp_path, {"quantization": settings}, tensors)
    for name, packed in (("a", four), ("b", six)):
        made = found[f"{name}.weight"].make()
        assert made.packing == packed.packing
        np.testing.assert_array_equal(value(found[f"{name}.weight"]), read_by_mlx(packed))
    assert set(found) == {"a.weight", "b.weight", "norm.weight"}


def test_a_method_that_we_do_not_know_is_named(tmp_path: Path) -> None:
    config = {"quantization_config": {"quant_method": "bitsandbytes"}}
    with pytest.raises(Unsupported, match='"bitsandbytes" is not supported yet'):
        steps(tmp_path, config, {"a.weight": np.ones((2, 2), np.float32)})
