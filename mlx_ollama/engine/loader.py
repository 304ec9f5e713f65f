"""Weights on disk, or a conversion's stream, to a model that can run."""

import logging
import re
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

from mlx_ollama.engine import (
    encoders,
    memory,
    mlx_models,
    model_config,
    vision,
    weights as weight_files,
)
from mlx_ollama.engine.adapters import InvalidAdapter, LowRank, adapt
from mlx_ollama.engine.probe import make_batchable
from mlx_ollama.engine.vision import names as tower_names
from mlx_ollama.engine.vision.model import VisionModel
from mlx_ollama.engine.vision.steering import Steering

log = logging.getLogger(__name__)

Weights = dict[str, mx.array]


class LoadError(Exception):
    """The model cannot be loaded; its text is what the client reads."""


_PROJECTION = re.compile(r"\d+_Dense\.linear\.(weight|bias)")
PROCESSORS = ("preprocessor_config.json", "processor_config.json")


@dataclass(kw_only=True)
class LoadedModel:
    """`context_length` is what the model was trained for (0: unknown). `batchable`: several rows give what
    each gives alone; otherwise the engine runs one row. `bytes` are the weights in memory.
    `vision`: the tower and projector of a model that sees; `steering` is how its images reach the text model.
    `is_encoder`: it gives hidden states, called as `engine.encoders` says, and no tokens. `projections`: what
    follows the pooling of an embedding model, `2_Dense.linear.weight` ….
    """

    model: nn.Module
    config: dict[str, Any]
    vocab_size: int
    context_length: int
    cache_kinds: tuple[str, ...]
    bytes: int
    batchable: bool
    dtype: mx.Dtype
    vision: VisionModel | None = None
    steering: Steering = field(default_factory=Steering)
    is_encoder: bool = False
    projections: Weights = field(default_factory=dict[str, mx.array])


def apply_adapter(loaded: LoadedModel, adapter: Mapping[str, LowRank]) -> None:
    """Put a LoRA adapter (by module path) on a model that was just loaded. Raises LoadError."""
    try:
        adapt(loaded.model, adapter, loaded.dtype)
    except InvalidAdapter as error:
        raise LoadError(str(error)) from None
    loaded.bytes += sum(part.down.nbytes + part.up.nbytes for part in adapter.values())


def load_directory(path: Path, *, dense: bool | None = None) -> LoadedModel:
    """An MLX directory (config.json, *.safetensors). `dense`: dequantise at load; None: on the CPU
    when it fits in memory. Raises LoadError."""
    files = {name: path / name for name in ("config.json", *PROCESSORS) if (path / name).is_file()}
    with _refusals():
        config = _read_config(files)
        return _load(config, weight_files.load_directory(path), dense, _processor(files))


def load_tensors(
    tensors: Mapping[str, Path], files: Mapping[str, Path], *, dense: bool | None = None
) -> LoadedModel:
    """Ollama's MLX layout: a safetensors file per tensor (or expert group), `files` by file name."""
    with _refusals():
        config = _read_config(files)
        loaded, quantization = weight_files.load_blobs(tensors)
        model_config.check_quantization(quantization)
        config["quantization"] = quantization or None
        return _load(config, loaded, dense, _processor(files))


def load_stream(
    config: dict[str, Any],
    tensors: Iterable[tuple[str, mx.array]],
    *,
    dense: bool | None = None,
    processor: dict[str, Any] | None = None,
) -> LoadedModel:
    """A conversion's tensors, in MLX directory naming, straight into a model (the live sink)."""
    with _refusals():
        return _load(config, dict(tensors), dense, processor or {})


@contextmanager
def _refusals() -> Generator[None]:
    try:
        yield
    except (model_config.InvalidConfig, weight_files.InvalidWeights) as error:
        raise LoadError(str(error)) from None


def _read_config(files: Mapping[str, Path]) -> dict[str, Any]:
    if "config.json" not in files:
        raise LoadError("model has no config.json")
    config = model_config.read_whole(files["config.json"])
    model_config.check(config)
    return config


def _processor(files: Mapping[str, Path]) -> dict[str, Any]:
    """How pictures are prepared; nothing for models without."""
    found = [model_config.read_whole(files[name]) for name in PROCESSORS if name in files]
    return next((value for value in found if isinstance(value, dict)), {})


def _load(
    whole: dict[str, Any], weights: Weights, dense: bool | None, processor: dict[str, Any]
) -> LoadedModel:
    """`whole` is config.json with the parts of a tower, if there are any."""
    config = model_config.check(whole)
    tower = _tower(whole, weights, processor)
    if "text_config" in whole or tower is not None:
        weights = tower_names.of_text(weights)
        config["tie_word_embeddings"] = "lm_head.weight" not in weights
    is_encoder = encoders.family(config) in encoders.FAMILIES
    if not is_encoder and config["model_type"] not in mlx_models.SUPPORTED:
        raise LoadError(f'architecture "{config["model_type"]}" is not supported yet')
    projections = {name: weights.pop(name) for name in list(weights) if _PROJECTION.match(name)}
    model = _build(config, is_encoder)
    try:
        dtype = _fill(model, config, weights if is_encoder else _with_prefix(weights), dense)
        loaded = (_describe_encoder if is_encoder else _describe)(model, config, dtype)
    except (ValueError, RuntimeError, KeyError, TypeError) as error:
        log.debug("filling %s: %s", config["model_type"], error)
        raise LoadError("weights do not match config.json") from None
    loaded.projections = {name: array.astype(dtype) for name, array in projections.items()}
    mx.eval(loaded.projections)
    if tower is not None:
        _attach(loaded, tower)
    return loaded


def _with_prefix(weights: Weights) -> Weights:
    """A language model that was saved without its head, as embedding models are, lacks the outer name."""
    if "embed_tokens.weight" not in weights:
        return weights
    return {
        name if name.startswith("lm_head.") else f"model.{name}": a for name, a in weights.items()
    }


def _tower(
    whole: dict[str, Any], weights: Weights, processor: dict[str, Any]
) -> VisionModel | None:
    """The tower and projector that a checkpoint has, in float32 on the CPU."""
    has_tower = any(n.removeprefix("model.").startswith(tower_names.TOWERS) for n in weights)
    settings = whole.get("vision_config")
    if not has_tower or not isinstance(settings, dict):
        return None
    if whole["model_type"] not in vision.FAMILIES:
        raise LoadError(f'images of architecture "{whole["model_type"]}" are not supported yet')
    model_config.check_numbers(settings)
    try:
        tower = vision.build(whole, processor)
        own = tower.sanitize(weights)
        tower.load_weights(list(_cast(tower, own, _compute_dtype(own)).items()))
    except (ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        log.debug("the tower of %s: %s", whole["model_type"], error)
        raise LoadError("the vision weights do not match config.json") from None
    mx.eval(tower.parameters())
    return tower


def _attach(loaded: LoadedModel, tower: VisionModel) -> None:
    tower.steer(loaded.model, loaded.steering, loaded.config)
    loaded.vision = tower
    loaded.bytes += sum(array.nbytes for array in _arrays(tower))


def _fill(
    model: nn.Module, config: dict[str, Any], weights: Weights, dense: bool | None
) -> mx.Dtype:
    """Give the model its weights, packed or dense, in the dtype to compute in."""
    sanitize: Any = getattr(model, "sanitize", None)
    weights = sanitize(weights) if sanitize is not None else weights
    if dense is None:
        dense = not mx.metal.is_available() and _fits_dense(config, weights)
    dtype = _compute_dtype(weights)
    weights = _rename_experts(model, weights)
    packed = _quantized(weights)
    unpack = [m for m in packed if dense or f"{m}.global_scale" in weights]
    weights = _dequantize(config, weights, unpack)
    _quantize_modules(model, config, weights)
    _put(model, _cast(model, weights, dtype))
    return dtype


def _rename_experts(model: nn.Module, weights: Weights) -> Weights:
    """Ollama keeps stacked experts below `experts`, most classes of mlx-lm below `switch_mlp`."""
    flat: Any = tree_flatten(model.parameters())
    known = {name.rpartition(".")[0] for name, _ in flat}

    def renamed(name: str) -> str:
        other = name.replace(".experts.", ".switch_mlp.")
        return other if other.rpartition(".")[0] in known else name

    return {renamed(name): array for name, array in weights.items()}


def _build(config: dict[str, Any], is_encoder: bool) -> nn.Module:
    try:
        return encoders.build(config) if is_encoder else mlx_models.build(config)
    except (
        TypeError,
        ValueError,
        KeyError,
        AttributeError,
        AssertionError,
        ZeroDivisionError,
    ) as error:
        log.debug("building %s: %s", config["model_type"], error)
        raise LoadError("config.json does not describe a model of its architecture") from None


def _put(model: nn.Module, weights: Weights) -> None:
    """Every weight in its place, computed; ValueError where one is missing, left over or of another shape."""
    model.eval()
    model.load_weights(list(weights.items()), strict=True)
    mx.eval(model.parameters())
    mx.clear_cache()


def _describe(model: nn.Module, config: dict[str, Any], dtype: mx.Dtype) -> LoadedModel:
    kinds = tuple(sorted({type(cache).__name__ for cache in mlx_models.new_caches(model)}))
    batchable = make_batchable(model, config["vocab_size"], config["model_type"])
    if not batchable:
        log.warning("%s runs one request at a time", config["model_type"])
    return LoadedModel(
        model=model,
        config=config,
        vocab_size=config["vocab_size"],
        context_length=config.get("max_position_embeddings") or 0,
        cache_kinds=kinds,
        bytes=sum(array.nbytes for array in _arrays(model)),
        batchable=batchable,
        dtype=dtype,
    )


def _describe_encoder(model: nn.Module, config: dict[str, Any], dtype: mx.Dtype) -> LoadedModel:
    """Roberta's first positions are padding's."""
    args: Any = getattr(model, "args", None)
    unused = getattr(args, "first_position", 0)
    return LoadedModel(
        model=model,
        config=config,
        vocab_size=config["vocab_size"],
        context_length=max(getattr(args, "max_position_embeddings", 0) - unused, 0),
        cache_kinds=(),
        bytes=sum(array.nbytes for array in _arrays(model)),
        batchable=True,
        dtype=dtype,
        is_encoder=True,
    )


def _arrays(model: nn.Module) -> list[mx.array]:
    flat: Any = tree_flatten(model.parameters())
    return [array for _, array in flat]


# ---- precision


def _compute_dtype(weights: Weights) -> mx.Dtype:
    """float32 on the CPU, where half precision is 10 to 300 times slower; on Metal the weights' own
    half precision, and bfloat16 for anything wider."""
    if not mx.metal.is_available():
        return mx.float32
    kinds = {array.dtype for array in weights.values()}
    return mx.float16 if mx.float16 in kinds and mx.bfloat16 not in kinds else mx.bfloat16


def _cast(model: nn.Module, weights: Weights, dtype: mx.Dtype) -> Weights:
    """Floats in one dtype; `cast_predicate` names what a model wants left alone."""
    may_cast: Any = getattr(model, "cast_predicate", lambda _: True)
    return {
        name: array.astype(dtype)
        if mx.issubdtype(array.dtype, mx.floating) and may_cast(name)
        else array
        for name, array in weights.items()
    }


def _settings(config: dict[str, Any], module: str, weights: Weights) -> dict[str, Any]:
    """How a module's weight is quantised; shapes say what config.json leaves open."""
    stated = config.get("quantization") or {}
    own = stated.get(module)
    if not isinstance(own, dict):
        own = stated
    return {
        "group_size": own.get("group_size", 64),
        "bits": own.get("bits", 4),
        "mode": own.get("mode", "affine"),
    }


def _quantized(weights: Weights) -> list[str]:
    return [name.removesuffix(".scales") for name in weights if name.endswith(".scales")]


def _fits_dense(config: dict[str, Any], weights: Weights) -> bool:
    """Whether the weights as float32 leave a third of the free memory for everything else."""
    needed = sum(array.size * 4 for array in weights.values() if array.dtype != mx.uint32)
    for module in _quantized(weights):
        bits = _settings(config, module, weights)["bits"]
        needed += weights[f"{module}.weight"].nbytes * 8 // bits * 4
    return needed < memory.available() * 2 // 3


def _dequantize(config: dict[str, Any], weights: Weights, modules: Iterable[str]) -> Weights:
    """The same weights with some modules' unpacked to float32."""
    plain = dict(weights)
    for module in modules:
        weight, scales = plain[f"{module}.weight"], plain.pop(f"{module}.scales")
        biases = plain.pop(f"{module}.biases", None)
        if biases is not None:
            scales, biases = scales.astype(mx.float32), biases.astype(mx.float32)
        settings = _settings(config, module, weights)
        unpacked = mx.dequantize(weight, scales, biases, **settings).astype(mx.float32)
        # mlx's layers know no global scale.
        factor = plain.pop(f"{module}.global_scale", None)
        plain[f"{module}.weight"] = unpacked if factor is None else unpacked * factor
    return plain


def _quantize_modules(model: nn.Module, config: dict[str, Any], weights: Weights) -> None:
    """Give the modules that have scales their quantised classes."""
    modules = set(_quantized(weights))
    if modules:
        nn.quantize(
            model,
            class_predicate=lambda path, module: (
                _settings(config, path, weights) if path in modules else False
            ),
        )
