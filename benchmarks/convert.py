"""Conversion: GB/s a core by block format, header speed, peak memory, and a long fuzz of the reader.

python -m benchmarks.convert [--json] [--formats] [--header] [--memory] [--fuzz SOURCE [--count 50000]]
"""

import argparse
import json
import random
import resource
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from converters import inventory
from converters.errors import SourceError
from converters.gguf.blocks.formats import FORMATS
from converters.gguf.types import BLOCKS
from converters.plan import plan
from converters.rounding import rounding
from converters.stream import CHUNK_BYTES

SECONDS = 0.5
MEMORY_MB = 1536


def format_speeds() -> dict[str, float]:
    """Source bytes per CPU second of one core, in GB/s."""
    speeds: dict[str, float] = {}
    for name, form in FORMATS.items():
        size = BLOCKS[name][1]
        raw = np.random.default_rng(0).integers(0, 120, (CHUNK_BYTES // size, size), dtype=np.uint8)
        form.repack(raw, rounding("BF16"))
        start, done = time.process_time(), 0
        while time.process_time() - start < SECONDS:
            form.repack(raw, rounding("BF16"))
            done += raw.nbytes
        speeds[name] = done / (time.process_time() - start) / 1e9
    return speeds


def _text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def header_seconds(num_tokens: int = 262_144) -> float:
    """To read a header with that many tokens, scores and types."""
    tokens = b"".join(_text(f"token{i}") for i in range(num_tokens))
    numbers = struct.pack("<IIQ", 9, 6, num_tokens) + bytes(4 * num_tokens)
    body = _text("general.architecture") + struct.pack("<I", 8) + _text("llama")
    body += _text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, num_tokens) + tokens
    body += _text("tokenizer.ggml.scores") + numbers
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "header"
        path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 3) + body)
        start = time.process_time()
        inventory.read(path)
        return time.process_time() - start


def synthetic(path: Path, megabytes: int) -> None:
    """A llama of F16 tensors, sparse on disk: shapes as of a large model, with its tokenizer missing."""
    width, layers = 2048, max(1, megabytes // 100)
    vocabulary, inner = 32_000, 5632
    keys: list[tuple[str, int, bytes]] = [
        ("general.architecture", 8, _text("llama")),
        ("llama.block_count", 4, struct.pack("<I", layers)),
        ("llama.context_length", 4, struct.pack("<I", 2048)),
        ("llama.embedding_length", 4, struct.pack("<I", width)),
        ("llama.feed_forward_length", 4, struct.pack("<I", inner)),
        ("llama.attention.head_count", 4, struct.pack("<I", 16)),
        ("llama.attention.layer_norm_rms_epsilon", 6, struct.pack("<f", 1e-5)),
        ("tokenizer.ggml.model", 8, _text("gpt2")),
        ("tokenizer.ggml.pre", 8, _text("gpt-2")),
        ("tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, 2) + _text("a") + _text("b")),
        ("tokenizer.ggml.merges", 9, struct.pack("<IQ", 8, 0)),
    ]
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (width, vocabulary),
        "output_norm.weight": (width,),
    }
    for i in range(layers):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            shapes[f"blk.{i}.{name}.weight"] = (width, width)
        shapes[f"blk.{i}.ffn_gate.weight"] = shapes[f"blk.{i}.ffn_up.weight"] = (width, inner)
        shapes[f"blk.{i}.ffn_down.weight"] = (inner, width)
        shapes[f"blk.{i}.attn_norm.weight"] = shapes[f"blk.{i}.ffn_norm.weight"] = (width,)
    head, offset = b"", 0
    for name, shape in shapes.items():
        head += (
            _text(name)
            + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
            + struct.pack("<IQ", 1, offset)
        )
        offset += -(-int(np.prod(shape)) * 2 // 32) * 32
    meta = b"".join(_text(key) + struct.pack("<I", kind) + raw for key, kind, raw in keys)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(shapes), len(keys)) + meta + head
    with path.open("wb") as file:
        file.write(head + bytes(-len(head) % 32))
        file.truncate(file.tell() + offset)


def memory(dtype: str) -> dict[str, float]:
    """Peak resident memory of a conversion in its own process, and its speed."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "big.gguf", Path(folder) / "out"
        synthetic(source, MEMORY_MB)
        start = time.perf_counter()
        command = [
            sys.executable,
            "-m",
            "converters",
            "convert",
            str(source),
            str(out),
            "--dtype",
            dtype,
        ]
        subprocess.run([*command, "--progress", "none"], check=True)
        seconds = time.perf_counter() - start
        largest = max(tensor.size for tensor in inventory.read(source).tensors)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "source_mb": MEMORY_MB,
        "largest_tensor_mb": largest / 1e6,
        "peak_mb": peak * unit / 1e6,
        "bound_mb": 2 * largest / 1e6 + 200,
        "seconds": seconds,
    }


def fuzz(source: Path, count: int) -> dict[str, float]:
    """Mutated headers: each parses or raises our error. Anything else ends the run with its traceback."""
    whole, chosen = source.read_bytes(), random.Random(1)
    header = min(len(whole), 13_000) - 8
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    refused, slowest = 0, 0.0
    in_memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=in_memory if in_memory.is_dir() else None) as folder:
        path = Path(folder) / "mutant"
        for _ in range(count):
            content = bytearray(whole)
            for _ in range(chosen.choice((1, 1, 2, 8))):
                at = chosen.randrange(header)
                if chosen.random() < 0.5:
                    content[at] = chosen.randrange(256)
                else:
                    content[at : at + 8] = struct.pack(
                        "<Q", chosen.choice((0, 1, (1 << 31) - 1, 1 << 63, (1 << 64) - 1))
                    )
            path.write_bytes(content[: chosen.randrange(header) if chosen.random() < 0.1 else None])
            begun = time.process_time()
            try:
                plan(inventory.read(path), compact=True)
            except SourceError:
                refused += 1
            slowest = max(slowest, time.process_time() - begun)
    growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {
        "count": count,
        "refused": refused,
        "seconds": time.perf_counter() - start,
        "slowest_ms": slowest * 1000,
        "growth_mb": growth / 1024,
    }


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.convert", description=__doc__)
    for flag in ("json", "formats", "header", "memory"):
        arguments.add_argument(f"--{flag}", action="store_true")
    arguments.add_argument("--fuzz", type=Path)
    arguments.add_argument("--count", type=int, default=50_000)
    chosen = arguments.parse_args()
    everything = not (chosen.formats or chosen.header or chosen.memory or chosen.fuzz)
    found: dict[str, Any] = {}
    if chosen.formats or everything:
        found["gigabytes_per_core_second"] = format_speeds()
    if chosen.header or everything:
        found["header_of_262144_tokens_seconds"] = header_seconds()
    if chosen.memory or everything:
        found["memory"] = {dtype: memory(dtype) for dtype in ("bf16", "f32")}
    if chosen.fuzz:
        found["fuzz"] = fuzz(chosen.fuzz, chosen.count)
    if chosen.json:
        print(json.dumps(found, indent=1))
    else:
        _print(found)


def _print(found: dict[str, Any], indent: str = "") -> None:
    for key, value in found.items():
        if isinstance(value, dict):
            print(f"{indent}{key}")
            _print(value, indent + "  ")
        else:
            print(f"{indent}{key:<36} {value:>10.3f}")


if __name__ == "__main__":
    main()
