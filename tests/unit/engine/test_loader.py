"""Directories, tensor blobs and streams load to the same model; nothing unchecked reaches MLX."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import pytest
from mlx.utils import tree_flatten

from mlx_ollama.engine import mlx_models, weights
from mlx_ollama.engine.engine import Engine
from mlx_ollama.engine.loader import (
    LoadedModel,
    LoadError,
    load_directory,
    load_stream,
    load_tensors,
)
from tests.unit.engine.tiny import BASE, CONFIGS, request, run

CONFIG: dict[str, Any] = {"model_type": "llama", **BASE, "hidden_size": 64, "head_dim": 16}
PROMPT = request(0, [5, 6, 7, 8], max_tokens=16)


def parameters() -> dict[str, mx.array]:
    mx.random.seed(3)
    flat: Any = tree_flatten(mlx_models.build(CONFIG).parameters())
    return {name: mx.random.normal(a.shape) * 0.5 if a.ndim > 1 else a for name, a in flat}


def quantized(bits: int = 8, group_size: int = 32) -> tuple[dict[str, Any], dict[str, mx.array]]:
    """(config, weights) of a directory as mlx-lm writes it."""
    model = mlx_models.build(CONFIG)
    model.load_weights(list(parameters().items()))
    nn.quantize(model, group_size=group_size, bits=bits)
    flat: Any = tree_flatten(model.parameters())
    settings = {"group_size": group_size, "bits": bits}
    return {**CONFIG, "quantization": settings}, dict(flat)


def write(folder: Path, config: dict[str, Any], tensors: dict[str, mx.array]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    mx.save_safetensors(str(folder / "model.safetensors"), tensors)
    return folder


def answer(loaded: LoadedModel) -> list[int]:
    return run(Engine(loaded), [PROMPT])[0]


def test_directory_and_stream_give_the_same(tmp_path: Path) -> None:
    directory = load_directory(write(tmp_path, CONFIG, parameters()))
    stream = load_stream(dict(CONFIG), parameters().items())
    assert answer(directory) == answer(stream)
    assert directory.vocab_size == BASE["vocab_size"]
    assert directory.context_length == 4096
    assert directory.cache_kinds == ("KVCache",)
    assert directory.batchable


@pytest.mark.parametrize("bits", [4, 8])
def test_quantised_weights_give_the_same_dense_and_packed(tmp_path: Path, bits: int) -> None:
    folder = write(tmp_path, *quantized(bits))
    dense, packed = load_directory(folder, dense=True), load_directory(folder, dense=False)
    assert packed.bytes < dense.bytes / 2
    assert load_directory(folder).bytes in (dense.bytes, packed.bytes)
    assert answer(dense) == answer(packed)
    tokens = mx.array([[1, 2, 3]])
    assert mx.allclose(dense.model(tokens), packed.model(tokens), atol=1e-3)


def blobs(folder: Path, tensors: dict[str, mx.array], kind: str) -> dict[str, Path]:
    """Ollama's layout: a file a tensor, companions named after the weight."""
    paths: dict[str, Path] = {}
    for name in [n for n in tensors if not n.endswith((".scales", ".biases"))]:
        module = name.removesuffix(".weight")
        content, metadata = {name: tensors[name]}, dict[str, str]()
        if f"{module}.scales" in tensors:
            content[f"{name}.scale"] = tensors[f"{module}.scales"]
            content[f"{name}.bias"] = tensors[f"{module}.biases"]
            metadata = {"quant_type": kind, "group_size": "32"}
        paths[name] = folder / f"sha256-{len(paths)}"
        with paths[name].open("wb") as file:
            mx.save_safetensors(file, content, metadata)
    return paths


@pytest.mark.parametrize(("bits", "kind"), [(4, "int4"), (8, "INT8")])
def test_tensor_blobs_give_the_same_as_a_directory(tmp_path: Path, bits: int, kind: str) -> None:
    config, tensors = quantized(bits)
    directory = load_directory(write(tmp_path / "directory", config, tensors), dense=False)
    stored = blobs(tmp_path, tensors, kind)
    plain = {k: v for k, v in config.items() if k != "quantization"}
    (tmp_path / "config").write_text(json.dumps(plain))
    loaded = load_tensors(stored, {"config.json": tmp_path / "config"}, dense=False)
    assert answer(loaded) == answer(directory)


def test_biases_of_layers_are_not_taken_for_companions(tmp_path: Path) -> None:
    config = {**CONFIG, "attention_bias": True}
    model = mlx_models.build(config)
    flat: Any = tree_flatten(model.parameters())
    (tmp_path / "config").write_text(json.dumps(config))
    stored = blobs(tmp_path, dict(flat), "")
    loaded = load_tensors(stored, {"config.json": tmp_path / "config"})
    layers: Any = loaded.model.layers
    assert "bias" in layers[0].self_attn.q_proj


def test_stacked_experts_are_found_under_ollamas_name(tmp_path: Path) -> None:
    config = {"model_type": "qwen3_moe", **BASE, **CONFIGS["qwen3_moe"]}
    mx.random.seed(1)
    flat: Any = tree_flatten(mlx_models.build(config).parameters())
    tensors = {name.replace(".switch_mlp.", ".experts."): array for name, array in flat}
    assert any(".experts.gate_proj.weight" in name for name in tensors)
    (tmp_path / "config").write_text(json.dumps(config))
    loaded = load_tensors(blobs(tmp_path, tensors, ""), {"config.json": tmp_path / "config"})
    assert answer(loaded) == answer(load_stream(config, flat))


def test_global_scales_multiply_what_they_scale(tmp_path: Path) -> None:
    config, tensors = quantized()
    tensors = dict(tensors)
    module = "model.layers.0.mlp.up_proj"
    plain = load_directory(write(tmp_path / "plain", config, tensors), dense=False)
    halved = {**tensors, f"{module}.global_scale": mx.array(0.5)}
    loaded = load_directory(write(tmp_path / "halved", config, halved), dense=False)
    whole, half = (dict(tree_flatten(m.model.parameters())) for m in (plain, loaded))
    settings = config["quantization"]
    unpacked = mx.dequantize(
        whole[f"{module}.weight"], whole[f"{module}.scales"], whole[f"{module}.biases"], **settings
    )
    assert mx.allclose(half[f"{module}.weight"], unpacked * 0.5, atol=1e-5)


# ---- what is refused

Change = Callable[[dict[str, Any]], Any]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_hidden_layers": 10**9}, "num_hidden_layers must be between"),
        ({"num_hidden_layers": 0}, "num_hidden_layers"),
        ({"num_hidden_layers": "2"}, "num_hidden_layers"),
        ({"num_hidden_layers": None}, "num_hidden_layers is missing"),
        ({"hidden_size": -64}, "hidden_size"),
        ({"hidden_size": True}, "hidden_size"),
        ({"num_attention_heads": 0}, "num_attention_heads"),
        ({"vocab_size": 2**40}, "vocab_size"),
        ({"rms_norm_eps": "small"}, "rms_norm_eps"),
        ({"rope_theta": -1}, "rope_theta"),
        ({"quantization": {"group_size": 0, "bits": 4}}, "quantization group_size"),
        ({"quantization": {"group_size": 64, "bits": 7}}, "quantization bits"),
        ({"quantization": {"group_size": 64, "bits": 4, "x": {"bits": 99}}}, "quantization bits"),
        ({"quantization": 4}, "quantization must be an object"),
        ({"model_file": "model.py"}, "custom code"),
        ({"auto_map": {"AutoModel": "x.Y"}}, "custom code"),
        ({"model_type": "os"}, 'architecture "os" is not supported yet'),
        ({"model_type": "../llama"}, "is not supported yet"),
        ({"model_type": 7}, "model_type must be a string"),
        ({"layer_types": ["full_attention"]}, "layer_types"),
        ({"layer_types": "full"}, "layer_types"),
        ({"text_config": []}, "text_config"),
        ({"num_attention_heads": 3}, "weights do not match"),
        ({"rope_scaling": {"rope_type": "unheard of"}}, "does not describe"),
        (
            {"quantization": {"group_size": 32, "bits": 4}, "num_key_value_heads": 4},
            "weights do not",
        ),
        ({"intermediate_size": 128}, "weights do not match"),
    ],
)
def test_bad_config_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    folder = write(tmp_path, {**CONFIG, **change}, parameters())
    with pytest.raises(LoadError, match=message.replace("(", r"\(")):
        load_directory(folder)


@pytest.mark.parametrize("text", ["", "[]", "7", "{", "[" * 100_000, '"x"'])
def test_config_that_is_no_object_is_refused(tmp_path: Path, text: str) -> None:
    folder = write(tmp_path, CONFIG, parameters())
    (folder / "config.json").write_text(text)
    with pytest.raises(LoadError, match=r"config\.json"):
        load_directory(folder)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"no config\.json"):
        load_directory(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    with pytest.raises(LoadError, match="no safetensors"):
        load_directory(tmp_path)


def test_missing_weights_are_refused(tmp_path: Path) -> None:
    tensors = parameters()
    del tensors["model.layers.1.self_attn.q_proj.weight"]
    with pytest.raises(LoadError, match="weights do not match"):
        load_directory(write(tmp_path, CONFIG, tensors))


def test_packed_weights_of_other_bits_are_refused(tmp_path: Path) -> None:
    config, tensors = quantized(8)
    folder = write(tmp_path, {**config, "quantization": {"group_size": 32, "bits": 4}}, tensors)
    for dense in (True, False):
        with pytest.raises(LoadError, match="weights do not match"):
            load_directory(folder, dense=dense)


def test_links_are_not_followed(tmp_path: Path) -> None:
    real = write(tmp_path / "real", CONFIG, parameters())
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "model.safetensors").symlink_to(real / "model.safetensors")
    with pytest.raises(LoadError, match="symbolic links"):
        load_directory(folder)


def tensor(**changes: Any) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16], **changes}


def header(value: Any, data: int = 16) -> bytes:
    raw = json.dumps(value).encode()
    return len(raw).to_bytes(8, "little") + raw + bytes(data)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"1234567",
        bytes(8),
        (2**60).to_bytes(8, "little") + b"{}",
        (200).to_bytes(8, "little") + b"{}",
        (4).to_bytes(8, "little") + b"abcd",
        (6).to_bytes(8, "little") + b'{"\xff":',
        header([]),
        header({"a": 5}),
        header({"a": tensor(shape=[-2, -2])}),
        header({"a": tensor(shape=[2.0, 2])}),
        header({"a": tensor(shape=[1] * 9, data_offsets=[0, 4])}, 4),
        header({"a": tensor(shape=[2**40, 2**40])}),
        header({"a": tensor(shape="22")}),
        header({"a": tensor(dtype="F64")}),
        header({"a": tensor(dtype=None)}),
        header({"a": tensor(data_offsets=[0, 12])}),
        header({"a": tensor(data_offsets=[4, 20])}, 20),
        header({"a": tensor(data_offsets=[16, 0])}),
        header({"a": tensor(data_offsets=[0])}),
        header({"a": tensor(), "b": tensor()}),
        header({"a": tensor(), "b": tensor(data_offsets=[8, 24])}, 24),
        header({"a": tensor()}, 15),
        header({"a": tensor()}, 17),
        header({str(i): tensor(shape=[0], data_offsets=[0, 0]) for i in range(70_000)}, 0),
    ],
    ids=range(25),
)
def test_malformed_safetensors_never_reach_mlx(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(weights.InvalidWeights, match=r"^invalid safetensors: ."):
        weights.load_file(path)


def test_metadata_is_no_tensor(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(header({"__metadata__": {"format": "mlx"}, "a": tensor()}))
    assert weights.load_file(path)["a"].shape == (2, 2)


# ---- reference models


@pytest.mark.parametrize(
    "name", ["granite", "llama", "llama31", "mistral", "mixtral", "olmo2", "phi3", "qwen2", "qwen3"]
)
def test_zoo_logits_and_greedy_text_are_the_references(shared: Path, name: str) -> None:
    golden = json.loads((shared / "zoo" / name / "golden.json").read_text())
    loaded = load_directory(shared / "zoo" / name)
    logits = loaded.model(mx.array([golden["ids"]]))[0]
    assert mx.allclose(logits[-1], mx.array(golden["last_logits"]), rtol=0, atol=1e-3)
    assert mx.argmax(logits, axis=-1).tolist() == golden["argmax_each_position"]
    wanted = request(0, golden["ids"], max_tokens=len(golden["greedy"]))
    assert run(Engine(loaded), [wanted])[0] == golden["greedy"]
