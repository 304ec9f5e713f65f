"""Adapters before they are stored: made one file, and held against the model that they are for."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from converters import adapters, inventory
from converters.adapters.part import AdapterPart, module_path, parse_settings
from converters.architectures.family import Config
from converters.errors import InvalidSource
from converters.plan import plan
from converters.safetensors import checkpoint
from converters.safetensors.arrays import Array, read_array
from converters.safetensors.reader import read_tensors
from converters.tensor_blobs import BlobFolder, header

ADAPTER = "application/vnd.ollama.image.adapter"
CONFIG = "adapter_config.json"
WEIGHTS = ".safetensors"
_TOWER = re.compile(r"vision|visual|multi_modal|connector|audio")
_TABLE = re.compile(r"(.*\.)?(embed\w*|\w*_embeddings|wte|wpe)")  # looked up, not multiplied


class Base(NamedTuple):
    """`shapes`: row-major, by module; columns None where a packed weight does not say them."""

    config: Config
    shapes: Mapping[str, tuple[int, int | None]]


def import_adapter(files: Mapping[str, Path], base: Mapping[str, Path], out: Path) -> None:
    """Write into the new folder `out` the blob of an adapter, if it becomes another file, and `layers.json`.

    `files`: one GGUF, or PEFT's or mlx-lm's two by name. `base`: the files of its model. Raises SourceError, also where
    a part has no place in the model.
    """
    out.mkdir(parents=True)
    try:
        folder = BlobFolder(out)
        path = _gguf(files) or _fold(files, folder)
        check(path, read_base(base))
        folder.finish({})
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise


def _gguf(files: Mapping[str, Path]) -> Path | None:
    found = [path for path in files.values() if inventory.is_gguf(path)]
    return found[0] if found else None


def _fold(files: Mapping[str, Path], folder: BlobFolder) -> Path:
    """Weights with the settings in their header: one file, the same for the same adapter."""
    weights = [path for name, path in files.items() if name.endswith(WEIGHTS)]
    if len(weights) != 1:
        raise InvalidSource("only one adapter is currently supported")
    tensors, metadata = read_tensors(weights[0])
    text = _settings(files) or metadata.get(adapters.SETTINGS, "")
    if not text:
        raise InvalidSource(f"the adapter has no {CONFIG}")
    adapters.check(tensors, parse_settings(text))
    arrays: dict[str, Array] = {tensor.name: read_array(tensor) for tensor in tensors}
    pieces = [
        header(arrays, {adapters.SETTINGS: text}),
        *(array.data.data.cast("B") for array in arrays.values()),
    ]
    folder.add(ADAPTER, "", pieces)
    return folder.folder / folder.layers[0].digest.replace(":", "-")


def _settings(files: Mapping[str, Path]) -> str:
    """Empty where the weights come alone, as those that were stored once do."""
    if CONFIG not in files:
        return ""
    if files[CONFIG].stat().st_size > checkpoint.MAX_CONFIG_BYTES:
        raise InvalidSource(f"{CONFIG} is too large")
    return files[CONFIG].read_bytes().decode("utf-8", "replace")


def read_base(files: Mapping[str, Path]) -> Base:
    """From headers alone."""
    if any(inventory.is_gguf(path) for path in files.values()):
        made = plan(inventory.read(list(files.values())), compact=False)
        whole = {o.module: o.shape for o in made.outputs if _is_text(o.name)}
        config = made.config.get("text_config", made.config)
        return Base(config, {m: (s[0], s[1]) for m, s in whole.items() if len(s) == 2})
    source = checkpoint.read(files)
    shapes: dict[str, tuple[int, int | None]] = {}
    for name, tensor in source.tensors.items():
        if _is_text(name) and len(tensor.shape) == 2:
            rows, columns = tensor.shape
            module = module_path(name.removesuffix(".weight"))
            shapes[module] = (rows, None if tensor.type == "U32" else columns)
    return Base(source.config.get("text_config") or source.config, shapes)


def _is_text(name: str) -> bool:
    """A weight of the language model, which is what adapters are put on."""
    return name.endswith(".weight") and not _TOWER.search(name)


def check(path: Path, base: Base) -> None:
    """Every part of an adapter has its place. Raises SourceError."""
    for part in adapters.read(path, base.config):
        _check_part(part, base)


def _check_part(part: AdapterPart, base: Base) -> None:
    shape = base.shapes.get(part.module)
    if shape is None or _TABLE.fullmatch(part.module):
        raise InvalidSource(
            f'the adapter changes "{part.module}", which is no linear layer of the model'
        )
    rows, columns = shape
    if part.up.shape[0] != rows or columns not in (None, part.down.shape[1]):
        raise InvalidSource(f"the adapter's \"{part.module}\" has another shape than the model's")
