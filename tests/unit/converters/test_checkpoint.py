"""Checkpoints from strangers: nothing is run, followed or believed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from converters.errors import SourceError
from converters.safetensors.checkpoint import files_of, read
from converters.safetensors.reader import read_tensors

ONE = {"a.weight": np.ones((2, 2), np.float32)}


def write(folder: Path, config: Any = None, **files: Any) -> dict[str, Path]:
    """A folder with a good shard, and JSON files over it; `__` in a name is a dot."""
    save_file(ONE, folder / "model.safetensors")
    given = {"model_type": "llama"} if config is None else config
    (folder / "config.json").write_text(given if isinstance(given, str) else json.dumps(given))
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(json.dumps(content))
    return files_of(folder)


def test_a_checkpoint_is_its_json_files_and_its_tensors(tmp_path: Path) -> None:
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text("{}")
    (tmp_path / "README.md").write_text("no")
    found = read(write(tmp_path, tokenizer__json={}))
    assert set(found.files) == {"tokenizer.json", "1_Pooling/config.json"}
    assert list(found.tensors) == ["a.weight"]


def test_shards_that_the_index_names_must_be_there(tmp_path: Path) -> None:
    files = write(tmp_path)
    files["model.safetensors"].rename(tmp_path / "model-00001-of-00002.safetensors")
    index = {"weight_map": {"a.weight": "model-00001-of-00002.safetensors", "b": "x.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(SourceError, match=r'shard "x\.safetensors" is missing'):
        read(files_of(tmp_path))
    (tmp_path / "model.safetensors.index.json").unlink()
    with pytest.raises(SourceError, match="a shard is missing"):
        read(files_of(tmp_path))


@pytest.mark.parametrize(
    "name", ["../x.safetensors", "/x.safetensors", "a\\b.safetensors", "x.bin", 7]
)
def test_a_shard_has_a_plain_file_name(tmp_path: Path, name: Any) -> None:
    files = write(tmp_path, model__safetensors__index__json={"weight_map": {"a": name}})
    with pytest.raises(SourceError, match="shard name must be a plain file name"):
        read(files)


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "secret"
    outside.write_text("{}")
    folder = tmp_path / "model"
    folder.mkdir()
    write(folder)
    (folder / "tokenizer.json").symlink_to(outside)
    with pytest.raises(SourceError, match="symbolic links are not allowed"):
        read(files_of(folder))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "x.pt", "x.ckpt", "x.npz", "x.pkl"])
def test_pickles_are_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path)
    (tmp_path / name).write_bytes(b"cos\nsystem\n")
    with pytest.raises(SourceError, match="unsupported weights format"):
        read(files_of(tmp_path))


@pytest.mark.parametrize("key", ["auto_map", "model_file", "custom_pipelines"])
@pytest.mark.parametrize("where", ["config", "tokenizer_config__json"])
def test_code_of_a_checkpoint_is_refused(tmp_path: Path, key: str, where: str) -> None:
    canary = {"model_type": "llama", key: {"AutoModel": "evil.Model"}}
    files = write(tmp_path, canary) if where == "config" else write(tmp_path, **{where: canary})
    with pytest.raises(SourceError, match="requires custom code"):
        read(files)


@pytest.mark.parametrize("config", ["[]", "{", "7", "[" * 100_000])
def test_a_config_that_is_no_object(tmp_path: Path, config: str) -> None:
    with pytest.raises(SourceError, match=r"config\.json is not"):
        read(write(tmp_path, config))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e400"])
def test_a_number_that_json_lacks_is_refused(tmp_path: Path, number: str) -> None:
    config = '{"model_type": "llama", "rope_theta": ' + number + "}"
    with pytest.raises(SourceError, match=r"config\.json is not valid JSON"):
        read(write(tmp_path, config))


def test_settings_of_a_tokenizer_are_an_object(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"tokenizer_config\.json is not an object"):
        read(write(tmp_path, tokenizer_config__json=[]))


def shard(folder: Path, header: Any, data: bytes = b"") -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path = folder / "x.safetensors"
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + data)
    return path


def entry(shape: Any, offsets: Any, dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    ("header", "data"),
    [
        ([], b""),
        (b"{", b""),
        (b'{"a":' * 50_000, b""),
        ({"a": 7}, b""),
        ({"a": entry([-2, -2], [0, 16])}, bytes(16)),
        ({"a": entry([2.5, 2], [0, 20])}, bytes(20)),
        ({"a": entry([4], [0, 16], "F128")}, bytes(16)),
        ({"a": entry([4], [16, 0])}, bytes(16)),
        ({"a": entry([4], [0, 12])}, bytes(12)),
        ({"a": entry([4], [0, 16]), "b": entry([4], [8, 24])}, bytes(24)),
        ({"a": entry([4], [0, 16]), "b": entry([4], [20, 36])}, bytes(36)),
        ({"a": entry([4], [0, 16])}, bytes(20)),
        ({"a": entry([4], [0, 16])}, bytes(12)),
        ({"a": entry([1 << 62], [0, 1 << 62])}, b""),
        ({"a": entry([1] * 1000, [0, 4])}, bytes(4)),
        (b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{}}', bytes(4)),
    ],
)
def test_hostile_headers_are_refused(tmp_path: Path, header: Any, data: bytes) -> None:
    with pytest.raises(SourceError, match="invalid safetensors: "):
        read_tensors(shard(tmp_path, header, data))


@pytest.mark.parametrize("content", [b"", b"1234567", (1 << 60).to_bytes(8, "little")])
def test_a_header_longer_than_its_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(SourceError, match="extends past the end of the file"):
        read_tensors(path)


def test_every_truncation_of_a_good_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path)["model.safetensors"]
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(SourceError):
            read_tensors(path)


def test_an_empty_tensor_may_be_named_after_the_one_that_begins_where_it_lies(
    tmp_path: Path,
) -> None:
    header = {"a": entry([1], [0, 4]), "b": entry([0], [0, 0])}
    tensors, _ = read_tensors(shard(tmp_path, header, bytes(4)))
    assert [tensor.name for tensor in tensors] == ["b", "a"]
