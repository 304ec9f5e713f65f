"""What each name of `quantize` costs: mean KL divergence to the float source, agreement of the best token, and size.

python -m benchmarks.quantize CHECKPOINT [--tokens 256] [--out FOLDER]

CHECKPOINT: the folder of a float Safetensors model, or a float GGUF. Tokens are random ones: a model says something
about those too, and the same for every name. KL is in nats a position, in float32.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import Report, with_openblas

ROW = 64  # tokens of one sequence
Logs = NDArray[np.float64]


def names() -> list[str]:
    """Every name that is accepted, as users write it."""
    from converters.quantize.recipes import CASTS, RECIPES

    return [n.lower().replace("k_m", "K_M").replace("k_s", "K_S") for n in (*CASTS, *RECIPES)]


def make(source: Path, quantize: str, folder: Path) -> dict[str, Any]:
    """The converter's listing of the model that a name makes."""
    from converters.__main__ import named_files
    from converters.importing import import_model

    files = named_files(source)
    if source.is_dir():  # a folder may have GGUFs of the same model beside
        files = {name: path for name, path in files.items() if path.suffix != ".gguf"}
    import_model(files, folder, quantize=quantize)
    return json.loads((folder / "layers.json").read_bytes())


def log_probabilities(folder: Path, made: dict[str, Any], tokens: NDArray[np.int32]) -> Logs:
    """(positions, vocabulary), as the engine computes them from the blobs."""
    import mlx.core as mx

    from mlx_ollama.engine.loader import load_tensors

    paths = {
        layer["name"]: (folder / layer["digest"].replace(":", "-"), layer["media_type"])
        for layer in made["layers"]
    }
    tensors = {name: path for name, (path, kind) in paths.items() if kind.endswith("tensor")}
    files = {name: path for name, (path, kind) in paths.items() if kind.endswith("json")}
    loaded = load_tensors(tensors, files)
    logits = np.array(loaded.model(mx.array(tokens)).astype(mx.float32), np.float64)
    logits = logits.reshape(-1, logits.shape[-1])
    logits -= logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def size(made: dict[str, Any]) -> int:
    return sum(layer["size"] for layer in made["layers"] if layer["media_type"].endswith("tensor"))


def measure(source: Path, count: int) -> Report:
    report = Report(f"quantize: {source.name}, {count} positions")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        made = make(source, "f32", folder / "source")
        vocabulary = _vocabulary(folder / "source", made)
        generator = np.random.default_rng(0)
        tokens = generator.integers(3, vocabulary, (count // ROW, ROW), np.int32)
        wanted = log_probabilities(folder / "source", made, tokens)
        whole = size(made)
        for name in names():
            made = make(source, name, folder / name)
            found = log_probabilities(folder / name, made, tokens)
            divergence = (np.exp(wanted) * (wanted - found)).sum(-1).mean()
            agree = (wanted.argmax(-1) == found.argmax(-1)).mean()
            bits = 32 * size(made) / whole
            report.add(name, kl=float(divergence), top1=float(agree), bits=bits)
    return report


def _vocabulary(folder: Path, made: dict[str, Any]) -> int:
    name = next(layer["digest"] for layer in made["layers"] if layer["name"] == "config.json")
    config = json.loads((folder / name.replace(":", "-")).read_bytes())
    return config.get("text_config", config)["vocab_size"]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="benchmarks.quantize",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", type=Path, metavar="CHECKPOINT")
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--out", type=Path, default=Path(), help="folder for JSON and PNG")
    given = parser.parse_args()
    with_openblas("benchmarks.quantize")
    report = measure(given.source, given.tokens)
    report.print()
    report.save(given.out, "quantize", "kl")


if __name__ == "__main__":
    main()
