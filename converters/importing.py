"""A checkpoint, or a GGUF of floats, to a model of tensor blobs: read → arrange → quantise → write."""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from converters import checkpoints, inventory, prequantized
from converters.dtypes import Progress
from converters.errors import NoRoom, SourceError, Unsupported
from converters.gguf.metadata_files import small_files
from converters.plan import PROCESSOR, plan
from converters.quantize import affine, floating
from converters.quantize.recipes import CASTS, RECIPES, canonical, decide
from converters.safetensors import bounds, checkpoint as sources
from converters.safetensors.arrays import FLOATS, Array, as_stored
from converters.safetensors.checkpoint import Checkpoint
from converters.stream import stream
from converters.tensor_blobs import JSON, BlobFolder
from converters.weights import Packed, Packing, Step

SPARE_BYTES = 8 << 20
TOWER = "projector-"  # what the name of a vision tower's own file begins with
ALREADY = "quantization is only supported for F16, BF16 and F32 models"

Weights = Iterable[tuple[str, Array | Packed]]


def import_model(
    files: Mapping[str, Path], out: Path, *, quantize: str = "", progress: Progress | None = None
) -> None:
    """Write the blobs of a model and `layers.json` into the new folder `out`. Raises SourceError.

    `files`: a checkpoint's by name, or those of one GGUF whose weights are floats (then `quantize` must be given),
    with its projectors called `projector-…`.
    """
    wanted = canonical(quantize) if quantize else ""
    report = progress or (lambda *_: None)
    report("reading", 0, 0)
    out.mkdir(parents=True)
    try:
        if any(inventory.is_gguf(path) for path in files.values()):
            _import_gguf(files, out, wanted, report)
        else:
            _import_checkpoint(sources.read(files), out, wanted, report)
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise


def _import_checkpoint(source: Checkpoint, out: Path, wanted: str, report: Progress) -> None:
    is_float = not prequantized.method(source) and not _has_packed_blobs(source)
    if wanted and not is_float and prequantized.method(source) != "fp8":
        raise Unsupported(ALREADY)
    config, steps = checkpoints.arrange(source.config, prequantized.steps(source))
    text = config.get("text_config")
    bounds.check_numbers(text if isinstance(text, dict) else config)
    for key in ("quantization", "quantization_config"):
        config.pop(key, None)
    _require_room(out, sum(step.size for step in steps.values()))
    made = ((step.name, step.make()) for step in steps.values())
    small = dict(source.files)
    small["config.json"] = json.dumps(config, ensure_ascii=False).encode()
    _fold_template(small)
    kind = wanted or _file_type(steps.values(), source)
    total = sum(step.size for step in steps.values())
    _write(BlobFolder(out), _Work(config, small, total, made), wanted, kind, report)


def _has_packed_blobs(source: Checkpoint) -> bool:
    """A model of tensor blobs names scales so."""
    return any(f"{name}.scale" in source.tensors for name in source.tensors)


def _import_gguf(files: Mapping[str, Path], out: Path, wanted: str, report: Progress) -> None:
    parts = [path for name, path in files.items() if not name.startswith(TOWER)]
    towers = [path for name, path in files.items() if name.startswith(TOWER)]
    found = inventory.read(parts)
    if not wanted:
        raise SourceError("a GGUF is kept as it is unless it is quantised")
    if any(t.type not in FLOATS for t in found.tensors):
        raise Unsupported(ALREADY)
    dtype = _main_type(t.type for t in found.tensors if len(t.shape) > 1)
    projectors = tuple(inventory.read([path]) for path in towers)
    made = plan(found, compact=False, projectors=projectors)
    total = made.inventory.size
    _require_room(out, total)
    weights = ((spec.name, Array(spec.dtype, data)) for spec, data in stream(made, dtype))
    small = small_files(found, made.config)
    small["config.json"] = json.dumps(made.config, ensure_ascii=False).encode()
    if made.processor:
        small[PROCESSOR] = json.dumps(made.processor).encode()
    _write(BlobFolder(out), _Work(made.config, small, total, weights), wanted, wanted, report)


class _Work:
    """What is written: weights come one at a time, and are gone when the next does."""

    def __init__(
        self, config: dict[str, Any], files: Mapping[str, bytes], total: int, weights: Weights
    ) -> None:
        self.config, self.files, self.total, self.weights = config, files, total, weights

    @property
    def num_layers(self) -> int:
        text = self.config.get("text_config") or self.config
        count = text.get("num_hidden_layers", 0)
        return count if type(count) is int else 0


def _write(folder: BlobFolder, work: _Work, wanted: str, kind: str, report: Progress) -> None:
    done = 0
    for name, weight in work.weights:
        size = weight.data.nbytes if isinstance(weight, Array) else weight.weight.data.nbytes
        folder.add_weight(name, finished(name, weight, wanted, work.num_layers))
        done = min(work.total, done + size)
        report("converting", done, work.total)
    for name, content in sorted(work.files.items()):
        folder.add(JSON, name, [content])
    report("finishing", work.total, work.total)
    folder.finish({"file_type": kind, "architecture": work.config.get("model_type", "")})


def finished(name: str, weight: Array | Packed, wanted: str, layers: int) -> Array | Packed:
    """A weight as it is stored: cast, quantised, or as it came."""
    if isinstance(weight, Packed) or not wanted:
        return weight
    if wanted in CASTS:
        return as_stored(weight.floats(), CASTS[wanted])
    packing = decide(RECIPES[wanted], name, weight.data.shape, layers)
    return weight if packing is None else pack(weight, packing)


def pack(weight: Array, packing: Packing) -> Packed:
    if packing.name in floating.GROUP_SIZES:
        return floating.quantize(weight, packing.name)
    return affine.quantize(weight, packing.bits, packing.group_size)


def _fold_template(files: dict[str, bytes]) -> None:
    """A chat template of its own goes into the tokenizer's settings, where models of tensor blobs have it."""
    template = files.pop("chat_template.jinja", None)
    if template is None:
        return
    settings = json.loads(files.get("tokenizer_config.json", b"{}"))
    if not settings.get("chat_template"):
        settings["chat_template"] = template.decode("utf-8", "replace")
        files["tokenizer_config.json"] = json.dumps(settings, ensure_ascii=False).encode()


def _file_type(steps: Iterable[Step], source: Checkpoint) -> str:
    """The quantisation's name of a checkpoint that is taken as it is."""
    packed = next((step for step in steps if step.is_packed), None)
    if packed is not None:
        made = packed.make()
        return made.packing.name.upper() if isinstance(made, Packed) else "BF16"
    return _main_type(t.type for t in source.tensors.values() if len(t.shape) > 1)


def _main_type(types: Iterator[str]) -> str:
    """The commonest float type."""
    found = [kind if kind in FLOATS else "BF16" for kind in types]
    return max(set(found), key=found.count) if found else "F32"


def _require_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size + SPARE_BYTES > free:
        raise NoRoom(f"no space left on device (need {size + SPARE_BYTES} bytes, have {free})")
