"""What the benchmarks of the engine share: models, time and CPU, a table, JSON and a picture.

On Linux they start again with OpenBLAS preloaded when it is found; MLX's own wheel links a slow reference BLAS.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

OPENBLAS = sorted(Path("/usr/lib").glob("*-linux-gnu/openblas-pthread/libblas.so.3"))

TINY: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "rms_norm_eps": 1e-5,
    "vocab_size": 512,
    "max_position_embeddings": 8192,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
}


@dataclass
class Spent:
    """Seconds of wall time, and of CPU in the whole process; the latter a busy machine hardly changes."""

    wall: float = 0.0
    cpu: float = 0.0


@dataclass
class Report:
    """Rows of named figures in the order they were measured."""

    title: str
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, name: str, **figures: float) -> None:
        self.rows.append({"name": name, **figures})

    def print(self) -> None:
        """One table; a figure that a row lacks stays empty."""
        columns = list(dict.fromkeys(key for row in self.rows for key in row))
        cells = [columns, *([_cell(row.get(key, "")) for key in columns] for row in self.rows)]
        widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
        print(f"{self.title}\n{machine()}")
        for line in cells:
            first, *others = zip(line, widths, strict=True)
            print(first[0].ljust(first[1]), *(text.rjust(width) for text, width in others))

    def save(self, folder: Path, name: str, figure: str) -> None:
        """NAME.json, and NAME.png with a bar of `figure` for each row."""
        record = {"machine": machine(), "rows": self.rows}
        (folder / f"{name}.json").write_text(json.dumps(record, indent=1))
        draw(
            [(r["name"], r[figure]) for r in self.rows if figure in r],
            figure,
            folder / f"{name}.png",
        )


def _cell(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def machine() -> str:
    """What it runs on, how busy that is, and whether OpenBLAS is in."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    blas = ", openblas" if "openblas" in os.environ.get("LD_PRELOAD", "") else ""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, load {load}{blas}"


def draw(bars: Sequence[tuple[str, float]], title: str, path: Path) -> None:
    width, left, height = 900, 330, 32 * len(bars) + 60
    image = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(image)
    pen.text((10, 10), f"{title}; {machine()}", fill="black")
    scale = (width - left - 80) / max([value for _, value in bars] or [1.0])
    for place, (name, value) in enumerate(bars):
        top = 45 + 32 * place
        pen.text((10, top + 4), name, fill="black")
        pen.rectangle((left, top, left + value * scale, top + 20), fill="#4477aa")
        pen.text((left + value * scale + 6, top + 4), f"{value:.3g}", fill="black")
    image.save(path)


@contextmanager
def spent() -> Generator[Spent]:
    found = Spent()
    wall, cpu = time.perf_counter(), time.process_time()
    yield found
    found.wall, found.cpu = time.perf_counter() - wall, time.process_time() - cpu


def medians(measure: Callable[[], Spent], rounds: int) -> Spent:
    found = [measure() for _ in range(rounds)]
    return Spent(statistics.median(s.wall for s in found), statistics.median(s.cpu for s in found))


def arguments(prog: str, description: str | None, rounds: int) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description=description)
    parser.add_argument("--gguf", type=Path, help="model file; none: SmolLM2-135M, downloaded")
    parser.add_argument("--tiny", action="store_true", help="a random two-layer model instead")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--out", type=Path, default=Path(), help="folder for JSON and PNG")
    return parser


def with_openblas(module: str) -> None:
    """Start the module again with a fast BLAS; libraries can only be preloaded by a new process."""
    if sys.platform != "linux" or not OPENBLAS or "LD_PRELOAD" in os.environ:
        return
    environment = {**os.environ, "LD_PRELOAD": str(OPENBLAS[0]), "OPENBLAS_NUM_THREADS": "1"}
    os.execve(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]], environment)


def tiny_model() -> Any:
    """Two layers of random weights: what is measured on it is our own cost."""
    import mlx.core as mx
    from mlx.utils import tree_flatten

    from mlx_ollama.engine import mlx_models
    from mlx_ollama.engine.loader import load_stream

    mx.random.seed(0)
    weights: Any = tree_flatten(mlx_models.build(TINY).parameters())
    return load_stream(TINY, weights)


def real_model(gguf: Path | None) -> tuple[Any, str]:
    """(LoadedModel, tokenizer.json) of a GGUF, converted in this process."""
    from converters.sinks import live
    from mlx_ollama.engine.loader import load_stream
    from mlx_ollama.quickstart import model_file

    source = live([gguf or model_file()])
    return load_stream(source.config, source.weights), source.files["tokenizer.json"].decode()
