"""Packed types against MLX's own reading of them, and which tensor becomes which."""

from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from converters.errors import Unsupported
from converters.importing import pack
from converters.quantize.affine import fit, quantize
from converters.quantize.recipes import RECIPES, Recipe, canonical, decide
from converters.safetensors.arrays import Array, as_stored
from converters.weights import Packed, Packing

RANDOM = np.random.default_rng(5)


def weights(dtype: str = "F32", shape: tuple[int, ...] = (96, 128)) -> Array:
    return as_stored(RANDOM.standard_normal(shape).astype(np.float32), dtype)


def read_by_mlx(packed: Packed) -> np.ndarray[Any, Any]:
    kind = packed.packing
    mode = "affine" if kind.name.startswith("int") else kind.name
    scale = mx.array(packed.scale.floats() if packed.bias is not None else packed.scale.data)
    bias = mx.array(packed.bias.floats()) if packed.bias is not None else None
    words = mx.array(packed.weight.data)
    out = mx.dequantize(words, scale, bias, kind.group_size, kind.bits, mode)
    return np.array(out.astype(mx.float32))


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_codes_scales_and_biases_are_read_by_mlx_as_meant(bits: int, dtype: str) -> None:
    source = weights(dtype)
    got = read_by_mlx(quantize(source, bits, 64))
    assert got.shape == source.data.shape
    spread = np.ptp(source.floats().reshape(-1, 64), axis=1).max()
    assert np.abs(got - source.floats()).max() <= spread / ((1 << bits) - 1)


def test_least_squares_beats_the_extremes_of_a_group() -> None:
    source = weights()
    ours = np.square(read_by_mlx(quantize(source, 4, 32)) - source.data).mean()
    words, scales, biases = mx.quantize(mx.array(source.data), 32, 4)
    theirs = np.array(mx.dequantize(words, scales, biases, 32, 4))
    assert ours < 0.9 * np.square(theirs - source.data).mean()


def test_a_constant_group_and_one_of_zeros_are_exact() -> None:
    source = Array("F32", np.stack([np.full(32, 0.375, np.float32), np.zeros(32, np.float32)]))
    np.testing.assert_array_equal(read_by_mlx(quantize(source, 4, 32)), source.data)


def test_what_lies_on_a_lattice_is_found_exactly() -> None:
    codes = np.arange(32, dtype=np.float32).reshape(1, 32) % 16
    scale, bias = fit(codes * 0.5 - 3, 15)
    np.testing.assert_allclose([scale[0], bias[0]], [0.5, -3], rtol=1e-6)


@pytest.mark.parametrize("name", ["mxfp4", "mxfp8", "nvfp4"])
def test_few_bit_floats_are_mlx_s_own(name: str) -> None:
    source = weights("BF16", (8, 64))
    group = {"nvfp4": 16}.get(name, 32)
    packed = pack(source, Packing(name=name, group_size=group))
    error = np.abs(read_by_mlx(packed) - source.floats()).max()
    assert error < (0.2 if name == "mxfp8" else 0.8)


def test_stacks_of_experts_are_packed_matrix_by_matrix() -> None:
    stack = weights("F16", (3, 8, 64))
    whole = quantize(stack, 4, 32)
    one = quantize(Array("F16", stack.data[1]), 4, 32)
    np.testing.assert_array_equal(whole.weight.data[1], one.weight.data)


LAYERS = 16


def chosen(recipe: Recipe, name: str, shape: tuple[int, ...] = (256, 256)) -> str:
    packing = decide(recipe, name, shape, LAYERS)
    return "kept" if packing is None else f"{packing.name}/{packing.group_size}"


@pytest.mark.parametrize(
    ("quantize", "name", "wanted"),
    [
        ("Q4_K_M", "model.layers.5.self_attn.q_proj.weight", "int4/32"),
        ("Q4_K_M", "model.layers.0.self_attn.v_proj.weight", "int8/64"),
        ("Q4_K_M", "model.layers.4.mlp.down_proj.weight", "int8/64"),
        ("Q4_K_M", "model.layers.5.mlp.down_proj.weight", "int4/32"),
        ("Q4_K_M", "model.embed_tokens.weight", "int8/64"),
        ("Q4_K_S", "model.layers.4.mlp.down_proj.weight", "int4/32"),
        ("INT4", "model.layers.5.self_attn.k_proj.weight", "int8/64"),
        ("INT4", "lm_head.weight", "int8/64"),
        ("NVFP4", "model.layers.5.mlp.up_proj.weight", "nvfp4/16"),
        ("NVFP4", "model.layers.5.mlp.switch_mlp.down_proj.weight", "nvfp4/16"),
        ("Q8_0", "model.layers.5.mlp.gate.weight", "kept"),
        ("Q8_0", "model.layers.5.input_layernorm.weight", "kept"),
        ("Q8_0", "vision_tower.encoder.layers.0.mlp.fc1.weight", "kept"),
    ],
)
def test_recipes(quantize: str, name: str, wanted: str) -> None:
    assert chosen(RECIPES[quantize], name) == wanted


def test_a_row_that_no_group_divides_stays_as_it_is() -> None:
    assert chosen(RECIPES["INT4"], "a.up_proj.weight", (64, 96)) == "int4/32"
    assert chosen(RECIPES["INT4"], "a.up_proj.weight", (64, 80)) == "kept"
    assert chosen(RECIPES["MXFP4"], "a.up_proj.weight", (64, 80)) == "kept"


def test_names_that_we_do_not_make_are_refused() -> None:
    assert canonical("q4_k") == "Q4_K_M"
    with pytest.raises(Unsupported, match="unsupported quantization type Q5_K_M"):
        canonical("q5_K_M")
