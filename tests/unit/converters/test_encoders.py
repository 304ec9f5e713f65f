"""Encoders out of GGUF, as llama.cpp's converter writes them, against transformers in float32."""

import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from converters.convert import convert
from converters.errors import Unsupported
from converters.gguf.dialect import normalised
from converters.gguf.metadata_files import pooling_files
from converters.importing import import_model
from converters.inventory import Inventory, Tensor
from converters.sinks import live
from mlx_ollama.engine.loader import load_directory, load_stream, load_tensors
from mlx_ollama.engine.pooling import embedder_of
from tests.conftest import DATA

FOLDERS = sorted(path.parent for path in (DATA / "encoders").glob("*/model.gguf.xz"))
# What no GGUF says: the tiny model has another pattern and scale than the one EmbeddingGemma that there is.
UNSAID = {"gemma3_text": {"sliding_window_pattern": 3, "query_pre_attn_scalar": 24}}


def unpacked(folder: Path, to: Path) -> Path:
    to.write_bytes(lzma.decompress((folder / "model.gguf.xz").read_bytes()))
    return to


def largest_difference(golden: dict[str, Any], loaded: Any, read: Any) -> float:
    embedder = embedder_of(loaded, read)
    assert embedder is not None
    found = np.array(embedder.embed(golden["ids"]))
    return float(np.abs(found - np.array([hidden[0] for hidden in golden["hidden"]])).max())


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_an_encoder_s_gguf_gives_what_its_checkpoint_gives(folder: Path, tmp_path: Path) -> None:
    golden = json.loads((folder / "golden.json").read_text())
    source, out = unpacked(folder, tmp_path / "model.gguf"), tmp_path / "out"
    convert([source], out, dtype="f32")
    stated = json.loads((out / "config.json").read_text()) | UNSAID.get(folder.name, {})
    (out / "config.json").write_text(json.dumps(stated))
    read = lambda name: json.loads((out / name).read_text())  # noqa: E731
    assert read("1_Pooling/config.json") == {"pooling_mode_cls_token": True}
    # llama.cpp's converter added 1 to Gemma's norms in float16.
    bound = 3e-3 if folder.name == "gemma3_text" else 1e-4
    assert largest_difference(golden, load_directory(out), read) < bound


def test_an_encoder_loads_without_a_directory(tmp_path: Path) -> None:
    folder = DATA / "encoders" / "bert"
    golden = json.loads((folder / "golden.json").read_text())
    model = live([unpacked(folder, tmp_path / "model.gguf")], dtype="f32")
    loaded = load_stream(model.config, model.weights)
    assert largest_difference(golden, loaded, lambda name: json.loads(model.files[name])) < 1e-4


AUTHORS = {
    "self_attn.o_proj": "attn.out_proj",
    "mlp.up_proj": "mlp.fc11",
    "mlp.gate_proj": "mlp.fc12",
    "mlp.down_proj": "mlp.fc2",
    "post_attention_layernorm": "norm1",
    "post_mlp_layernorm": "norm2",
    "embeddings.LayerNorm": "emb_ln",
}


def as_published(folder: Path, to: Path) -> dict[str, Any]:
    """The tiny Nomic BERT under its authors' names; its configuration."""
    stated = json.loads((folder / "config.json").read_text())
    weights = load_file(folder / "model.safetensors")
    made: dict[str, np.ndarray[Any, Any]] = {}
    for name, value in weights.items():
        for theirs, published in AUTHORS.items():
            name = name.replace(theirs, published)
        if ".q_proj." in name:
            fused = [weights[name.replace("q_proj", f"{part}_proj")] for part in "qkv"]
            name, value = name.replace("self_attn.q_proj", "attn.Wqkv"), np.concatenate(fused)
        if "k_proj" not in name and "v_proj" not in name:
            made[f"encoder.{name}" if name.startswith("layers") else name] = value
    save_file(made, to)
    return {
        "model_type": "nomic_bert",
        "auto_map": {"AutoModel": "modeling.NomicBertModel"},
        "n_embd": stated["hidden_size"],
        "n_layer": stated["num_hidden_layers"],
        "n_head": stated["num_attention_heads"],
        "n_inner": stated["intermediate_size"],
        "n_positions": 8192,
        "max_trained_positions": 64,
        "layer_norm_epsilon": stated["layer_norm_eps"],
        "rotary_emb_base": stated["rope_parameters"]["rope_theta"],
        "activation_function": "swiglu",
        "prenorm": False,
        "vocab_size": stated["vocab_size"],
        "type_vocab_size": stated["type_vocab_size"],
    }


def test_nomic_bert_as_its_authors_publish_it(tmp_path: Path) -> None:
    folder = DATA / "encoders" / "nomic_bert"
    golden = json.loads((folder / "golden.json").read_text())
    config, weights = tmp_path / "config.json", tmp_path / "model.safetensors"
    stated = as_published(folder, weights)
    config.write_text(json.dumps(stated))
    files = {"config.json": config, "model.safetensors": weights}
    import_model(files, tmp_path / "out")
    layers = json.loads((tmp_path / "out" / "layers.json").read_text())["layers"]
    paths = {
        layer["name"]: tmp_path / "out" / layer["digest"].replace(":", "-") for layer in layers
    }
    small = {"config.json": paths.pop("config.json")}
    settings = {"1_Pooling/config.json": {"pooling_mode_cls_token": True}}
    loaded = load_tensors(paths, small)
    assert loaded.context_length == 64
    assert largest_difference(golden, loaded, lambda name: settings.get(name, {})) < 1e-4
    config.write_text(json.dumps(stated | {"moe_every_n_layers": 2}))
    with pytest.raises(Unsupported, match="moe_every_n_layers"):
        import_model(files, tmp_path / "other")


def an_inventory(architecture: str, metadata: dict[str, Any], names: list[str]) -> Inventory:
    tensors = tuple(Tensor(name, "F32", (4, 4), 64, Path("x"), 0) for name in names)
    return Inventory(
        kind="gguf",
        architecture=architecture,
        metadata=metadata,
        tensors=tensors,
        file_type="F32",
        files=(),
    )


def test_a_gemma_that_pools_is_an_embedding_model() -> None:
    metadata = {"gemma3.pooling_type": 1, "gemma3.block_count": 1, "gemma3.context_length": 8}
    found = normalised(an_inventory("gemma3", metadata, ["dense.0.weight", "dense.1.weight"]))
    assert found.architecture == "gemma-embedding"
    assert found.metadata["gemma-embedding.block_count"] == 1
    assert set(found.by_name) == {"dense_2.weight", "dense_3.weight"}
    assert pooling_files(found) == {
        "1_Pooling/config.json": {"pooling_mode_mean_tokens": True},
        "sentence_bert_config.json": {"max_seq_length": 8},
    }


def test_a_reranker_is_refused() -> None:
    with pytest.raises(Unsupported, match="pooling"):
        pooling_files(an_inventory("qwen3", {"qwen3.pooling_type": 4}, []))
    assert pooling_files(an_inventory("qwen3", {}, [])) == {}
