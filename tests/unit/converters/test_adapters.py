"""Adapters of every format give the logits of the base with their products in its weights; what does not fit, or says
more than LoRA, is refused.

`tests/data/adapters/make_adapters.py` computed the logits by the model's formulas in float32.
"""

import json
import lzma
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import mlx.core as mx
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from converters import adapters, inventory
from converters.adapters.fitting import import_adapter
from converters.errors import SourceError
from converters.plan import plan
from converters.sinks import live
from mlx_ollama.engine.adapters import AdaptedLinear, low_rank
from mlx_ollama.engine.loader import LoadedModel, apply_adapter, load_stream
from tests.conftest import DATA

BASE = DATA / "zoo" / "llama" / "model-f16.gguf"
FOLDER = DATA / "adapters"
GGUF = {"adapter": FOLDER / "llama-lora.gguf"}
PEFT = {path.name: path for path in (FOLDER / "llama-peft").iterdir()}
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
WANTED: dict[str, Any] = json.loads((FOLDER / "logits.json").read_bytes())


def stored(files: Mapping[str, Path], folder: Path, base: Mapping[str, Path] | None = None) -> Path:
    """The file that an adapter is stored as."""
    import_adapter(files, base or {"0.gguf": BASE}, folder / "out")
    made = json.loads((folder / "out" / "layers.json").read_bytes())["layers"]
    if not made:
        return next(iter(files.values()))
    return folder / "out" / made[0]["digest"].replace(":", "-")


def load() -> LoadedModel:
    base = live([BASE])
    return load_stream(base.config, base.weights)


def adapt(loaded: LoadedModel, path: Path) -> None:
    parts = {
        part.module: low_rank(part.down, part.up, part.scale)
        for part in adapters.read(path, loaded.config)
    }
    apply_adapter(loaded, parts)


def last_logits(loaded: LoadedModel) -> np.ndarray[Any, Any]:
    return np.array(loaded.model(mx.array([WANTED["tokens"]]))[0, -1])


def test_base_alone_is_what_the_formulas_give() -> None:
    assert np.abs(last_logits(load()) - WANTED["base"]).max() < 1e-4


@pytest.mark.parametrize(("kind", "files"), [("gguf", GGUF), ("peft", PEFT)])
def test_adapted_model_is_the_fused_one(
    tmp_path: Path, kind: str, files: Mapping[str, Path]
) -> None:
    loaded = load()
    adapt(loaded, stored(files, tmp_path))
    modules = dict(loaded.model.named_modules())
    assert sum(isinstance(module, AdaptedLinear) for module in modules.values()) == 14
    assert np.abs(last_logits(loaded) - WANTED[kind]).max() < 1e-4


def test_stored_file_is_the_same_every_time(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert stored(PEFT, tmp_path / "a").name == stored(PEFT, tmp_path / "b").name


def peft(folder: Path, changes: dict[str, Any]) -> dict[str, Path]:
    """The fixture with other settings."""
    settings = json.loads(PEFT[CONFIG].read_bytes()) | changes
    (folder / CONFIG).write_text(json.dumps(settings))
    return {WEIGHTS: PEFT[WEIGHTS], CONFIG: folder / CONFIG}


SETTINGS: list[tuple[dict[str, Any], float]] = [
    ({}, 16 / 8),
    ({"use_rslora": True}, 16 / 8**0.5),
    ({"alpha_pattern": {"self_attn.q_proj": 4}}, 4 / 8),
    ({"alpha_pattern": {"^model.layers.0.*q_proj": 4}}, 4 / 8),
    ({"alpha_pattern": {"proj": 4, "q": 4}}, 16 / 8),
]


@pytest.mark.parametrize(("changes", "scale"), SETTINGS)
def test_scale_follows_pefts_settings(
    tmp_path: Path, changes: dict[str, Any], scale: float
) -> None:
    path = stored(peft(tmp_path, changes), tmp_path)
    parts = {p.module: p for p in adapters.read(path, {"model_type": "llama"})}
    assert parts["model.layers.0.self_attn.q_proj"].scale == pytest.approx(scale)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"use_dora": True}, "DoRA adapters are not supported"),
    ({"peft_type": "LOHA"}, 'adapters of type "LOHA" are not supported'),
    ({"bias": "all"}, 'adapters with bias "all" are not supported'),
    ({"modules_to_save": ["lm_head"]}, "adapters with modules_to_save"),
    ({"init_lora_weights": "pissa"}, 'adapters with init_lora_weights "pissa"'),
    ({"layer_replication": [[0, 2]]}, "adapters with layer_replication"),
    ({"r": 4}, "has rank 8 instead of 4"),
    ({"r": 0}, 'key "r" of adapter_config.json is no positive number'),
    ({"lora_alpha": "x"}, 'key "lora_alpha" of adapter_config.json is no positive number'),
    ({"alpha_pattern": {"(a+)+b": 1}}, "the pattern .* of alpha_pattern is not supported"),
    ({"rank_pattern": {".*.*.*.*x": 1}}, "the pattern .* of rank_pattern is not supported"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_settings_that_say_more_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        stored(peft(tmp_path, changes), tmp_path)
    assert not (tmp_path / "out").exists()


LAYER = "base_model.model.model.layers.0.self_attn.q_proj"
Tensors = dict[str, np.ndarray[Any, Any]]


def floats(*shape: int) -> np.ndarray[Any, Any]:
    return np.ones(shape, np.float32)


def pair(layer: str, rank: int, inputs: int = 64, outputs: int = 64) -> Tensors:
    return {
        f"{layer}.lora_A.weight": floats(rank, inputs),
        f"{layer}.lora_B.weight": floats(outputs, rank),
    }


MISFITS: list[tuple[Tensors, str]] = [
    (pair(LAYER, 1025), "has rank 1025, more than 1024"),
    (pair(LAYER, 8, inputs=32), "another shape than the model's"),
    (pair(LAYER, 8, outputs=32), "another shape than the model's"),
    (pair(LAYER.replace("layers.0", "layers.9"), 8), "which is no linear layer of the model"),
    (pair("base_model.model.model.embed_tokens", 8, 64, 512), "which is no linear layer"),
    ({f"{LAYER}.lora_A.weight": floats(8, 64)}, "lacks one half"),
    (pair(LAYER, 8) | {f"{LAYER}.lora_magnitude_vector": floats(64)}, "lora_magnitude_vector"),
    (pair(LAYER, 8) | {"base_model.model.lm_head.weight": floats(512, 64)}, "lm_head.weight"),
    ({f"{LAYER}.lora_A.weight": np.ones((8, 64), np.int32)}, "type I32, which is no float"),
    (
        {f"{LAYER}.lora_A.weight": floats(8, 64), f"{LAYER}.lora_B.weight": floats(64, 8) * np.nan},
        "values that are no numbers",
    ),
]


@pytest.mark.parametrize(("tensors", "message"), MISFITS)
def test_peft_that_does_not_map_whole_is_refused(
    tmp_path: Path, tensors: Tensors, message: str
) -> None:
    save_file(tensors, tmp_path / "w")
    files = {WEIGHTS: tmp_path / "w", CONFIG: PEFT[CONFIG]}
    with pytest.raises(SourceError, match=message):
        stored(files, tmp_path)


def test_peft_without_its_settings_or_in_parts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"has no adapter_config\.json"):
        stored({WEIGHTS: PEFT[WEIGHTS]}, tmp_path)
    with pytest.raises(SourceError, match="only one adapter"):
        stored(PEFT | {"b.safetensors": PEFT[WEIGHTS]}, tmp_path)


def mlx_files(folder: Path, **changes: Any) -> dict[str, Path]:
    """The same adapter as mlx-lm writes it: one scale for all, so that of the odd module goes into its matrix."""
    tensors: Tensors = {}
    for name, array in load_file(PEFT[WEIGHTS]).items():
        path, _, half = (
            name.removeprefix("base_model.model.").removesuffix(".weight").rpartition(".")
        )
        is_odd = path == "model.layers.1.mlp.down_proj" and half == "lora_B"
        turned = array.T.astype(np.float32) * (0.25 if is_odd else 1)
        tensors[f"{path}.{half.lower()}"] = np.ascontiguousarray(turned)
    save_file(tensors, folder / "adapters.safetensors")
    parameters = {"rank": 8, "scale": 2.0, "dropout": 0.0}
    settings = {"fine_tune_type": "lora", "num_layers": 2, "lora_parameters": parameters}
    (folder / CONFIG).write_text(json.dumps(settings | changes))
    return {name: folder / name for name in ("adapters.safetensors", CONFIG)}


def test_mlx_lms_own_format_is_the_same_adapter(tmp_path: Path) -> None:
    loaded = load()
    adapt(loaded, stored(mlx_files(tmp_path), tmp_path))
    assert np.abs(last_logits(loaded) - WANTED["peft"]).max() < 1e-4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fine_tune_type": "dora"}, "adapters with fine_tune_type dora are not supported"),
        ({"lora_parameters": {"alpha": 2}}, 'key "scale" of adapter_config.json'),
    ],
)
def test_mlx_lms_other_adapters_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        stored(mlx_files(tmp_path, **changes), tmp_path)


def test_what_is_no_adapter_at_all_is_refused_unread(tmp_path: Path) -> None:
    save_file({"model.embed_tokens.weight": floats(8, 8)}, tmp_path / "w")
    with pytest.raises(SourceError, match="of the adapter is not supported"):
        stored({WEIGHTS: tmp_path / "w", CONFIG: PEFT[CONFIG]}, tmp_path)
    (tmp_path / CONFIG).write_text("[1]")
    with pytest.raises(SourceError, match="is not an object"):
        stored({WEIGHTS: PEFT[WEIGHTS], CONFIG: tmp_path / CONFIG}, tmp_path)


def write(path: Path, tensors: Tensors, architecture: str = "llama", **changes: Any) -> Path:
    metadata = {"general.type": "adapter", "adapter.type": "lora", **changes}
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in metadata.items():
        writer.add_string(key, value)
    writer.add_float32("adapter.lora.alpha", 8.0)
    for name, array in tensors.items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def halves(name: str, inputs: int = 64, outputs: int = 64) -> Tensors:
    return {f"{name}.lora_a": floats(4, inputs), f"{name}.lora_b": floats(outputs, 4)}


Q = "blk.0.attn_q.weight"
BAD_GGUF: list[tuple[Tensors, dict[str, Any], str]] = [
    (halves(Q), {"general.type": "model"}, "not a LoRA adapter"),
    (halves(Q), {"adapter.type": "control vector"}, "not a LoRA adapter"),
    (halves(Q), {"architecture": "unheard"}, "not supported yet"),
    (halves(Q, outputs=60), {}, "another shape than the model's"),
    (halves(Q), {"architecture": "qwen2"}, 'is for architecture "qwen2", the model is "llama"'),
    (halves(Q, inputs=32), {}, "another shape than the model's"),
    (halves("blk.0.ffn_down.weight"), {}, "another shape than the model's"),
    (halves("blk.9.attn_v.weight"), {}, "no linear layer of the model"),
    (halves("token_embd.weight", 64, 512), {}, "no linear layer of the model"),
    (halves("blk.0.unheard.weight"), {}, "not supported yet"),
    (halves(Q) | {"blk.0.attn_norm.weight": floats(64)}, {}, "not supported yet"),
    ({f"{Q}.lora_a": floats(4, 64)}, {}, "lacks one half"),
]


@pytest.mark.parametrize(("tensors", "changes", "message"), BAD_GGUF)
def test_gguf_that_does_not_map_whole_is_refused(
    tmp_path: Path, tensors: Tensors, changes: dict[str, Any], message: str
) -> None:
    path = write(tmp_path / "a", tensors, **changes)
    with pytest.raises(SourceError, match=message):
        stored({"adapter": path}, tmp_path)


def test_every_family_takes_adapters_of_its_own_architecture(tmp_path: Path) -> None:
    seen: set[str] = set()
    for packed in sorted((DATA / "zoo").glob("*.gguf.xz")):
        (tmp_path / "base").write_bytes(lzma.decompress(packed.read_bytes()))
        found = inventory.read(tmp_path / "base")
        config = plan(found, compact=False).config
        names = {t.name for t in found.tensors}
        stem = "blk.0.attn_output.weight"
        if stem not in names or found.architecture in seen:
            continue
        seen.add(found.architecture)
        rows, columns = reversed(found.by_name[stem].shape)
        adapter = write(tmp_path / "a", halves(stem, rows, columns), found.architecture)
        (part,) = adapters.read(adapter, config)
        assert part.up.shape == (columns, 4)
    assert len(seen) > 15


def test_checkpoint_is_a_base_too(tmp_path: Path) -> None:
    """Of its headers; packed weights tell their columns only when they are loaded."""
    tensors = load_file(PEFT[WEIGHTS])
    base: Tensors = {}
    for name, array in tensors.items():
        path = name.removeprefix("base_model.model.").rpartition(".lora_")[0] + ".weight"
        rows, columns = base.get(path, np.zeros((0, 0))).shape
        shape = (rows, array.shape[1]) if "lora_A" in name else (array.shape[0], columns)
        base[path] = np.zeros(shape, np.float16)
    save_file(base, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    files = {name: tmp_path / name for name in ("model.safetensors", "config.json")}
    assert stored(PEFT, tmp_path, files).is_file()
