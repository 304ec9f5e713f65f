"""What the reader refuses, and that whatever it is given it answers with an inventory or an error of ours."""

import random
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from converters import inventory
from converters.errors import InvalidSource, MissingPart, SourceError
from tests.unit.converters.gguf_bytes import ARRAY, STRING, U32, Entry, Gguf, text

ARCHITECTURE = ("general.architecture", "llama")


def with_value(encoded: bytes) -> Gguf:
    return Gguf(metadata=[ARCHITECTURE, ("x", encoded)])


def with_tensor(**fields: Any) -> Gguf:
    return Gguf(tensors=[Entry(**fields)])


BAD: dict[str, tuple[Gguf | bytes, str]] = {
    "empty": (b"GGUF", "too short"),
    "version 1": (Gguf(version=1), "version 1"),
    "version 99": (Gguf(version=99), "version 99"),
    "big endian": (Gguf(version=0x03000000), "big-endian"),
    "a key count of 2^60": (Gguf(num_keys=1 << 60), "metadata keys"),
    "a tensor count of 2^60": (Gguf(num_tensors=1 << 60), "tensors"),
    "fewer keys than said": (Gguf(num_keys=20), "invalid GGUF"),
    "a key of 2^48 bytes": (Gguf(metadata=[(b"", b"")], data=struct.pack("<Q", 1 << 48) * 9), ""),
    "a string of 2^63 bytes": (with_value(struct.pack("<IQ", STRING, 1 << 63)), "string of"),
    "a string past the end": (
        with_value(struct.pack("<IQ", STRING, 1 << 20)),
        "ends in the middle",
    ),
    "an array of 2^40": (with_value(struct.pack("<IIQ", ARRAY, 0, 1 << 40)), "array of"),
    "an array of 2^62": (with_value(struct.pack("<IIQ", ARRAY, U32, 1 << 62)), "array of"),
    "an array past the end": (with_value(struct.pack("<IIQ", ARRAY, U32, 1 << 20)), "past the end"),
    "nested arrays": (with_value(struct.pack("<IIQ", ARRAY, ARRAY, 1) * 4), "nested"),
    "an unknown value type": (with_value(struct.pack("<I", 77)), "value type 77"),
    "an unknown array type": (with_value(struct.pack("<IIQ", ARRAY, 77, 1)), "array type 77"),
    "strings past the end": (
        with_value(struct.pack("<IIQ", ARRAY, STRING, 3) + text("a") + struct.pack("<Q", 5000)),
        "invalid GGUF",
    ),
    "one key twice": (Gguf(metadata=[ARCHITECTURE, ARCHITECTURE]), "duplicate key"),
    "a key that is not UTF-8": (Gguf(metadata=[ARCHITECTURE, (b"\xff\xfe", 1)]), "UTF-8"),
    "no architecture": (Gguf(metadata=[("x", 1)]), "general.architecture"),
    "an alignment of 0": (Gguf(metadata=[ARCHITECTURE, ("general.alignment", 0)]), "alignment"),
    "an alignment of 3": (Gguf(metadata=[ARCHITECTURE, ("general.alignment", 3)]), "alignment"),
    "an alignment of text": (
        Gguf(metadata=[ARCHITECTURE, ("general.alignment", "8")]),
        "alignment",
    ),
    "a huge alignment": (
        Gguf(metadata=[ARCHITECTURE, ("general.alignment", 1 << 20)]),
        "alignment",
    ),
    "no dimension": (with_tensor(shape=()), "0 dimensions"),
    "five dimensions": (with_tensor(shape=(32, 1, 1, 1, 1)), "5 dimensions"),
    "2^31 dimensions": (with_tensor(num_dimensions=1 << 31), "dimensions"),
    "a dimension of 0": (with_tensor(shape=(32, 0)), "out of range"),
    "a dimension of 2^63": (with_tensor(shape=(32, 1 << 63)), "out of range"),
    "a product past 2^64": (with_tensor(shape=((1 << 31) - 32,) * 4), "past the end"),
    "an unknown tensor type": (with_tensor(type=200), "unknown type 200"),
    "rows that are not whole blocks": (with_tensor(shape=(33, 2), type=8), "whole Q8_0 blocks"),
    "an offset that is not aligned": (with_tensor(offset=8), "not aligned"),
    "an offset that would wrap": (with_tensor(offset=(1 << 64) - 32), "past the end"),
    "a tensor longer than the file": (with_tensor(shape=(1 << 20,), type=1), "past the end"),
    "one tensor twice": (Gguf(tensors=[Entry(), Entry(offset=256)]), "duplicate tensor"),
    "tensors over each other": (Gguf(tensors=[Entry(), Entry(name="b", offset=32)]), "overlaps"),
    "a name of 300 bytes": (with_tensor(name="x" * 300), "tensor name of 300"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_malformed_file_is_refused_by_its_fault(name: str, tmp_path: Path) -> None:
    made, wanted = BAD[name]
    (tmp_path / "bad").write_bytes(bytes(made))
    with pytest.raises(InvalidSource, match=r"^invalid GGUF: ") as caught:
        inventory.read(tmp_path / "bad")
    assert wanted in str(caught.value)


def test_bleeding_llama_is_refused(tmp_path: Path) -> None:
    """CVE-2026-7482: a tensor of a million values in a file of a kilobyte."""
    path = with_tensor(name="x", shape=(1 << 20,), type=1).write(tmp_path / "bleeding")
    with pytest.raises(InvalidSource, match='tensor "x" extends past the end of the file'):
        inventory.read(path)


def test_a_good_file_is_read_in_its_order(tmp_path: Path) -> None:
    metadata: list[tuple[str | bytes, Any]] = [
        ARCHITECTURE,
        ("b", 1e-5),
        ("a", True),
        ("tokenizer.ggml.tokens", ["x", "y" * 5000, ""]),
    ]
    tensors = [Entry("z", (32, 2)), Entry("a", (64,), TYPES_Q8, 256)]
    found = inventory.read(Gguf(metadata=metadata, tensors=tensors).write(tmp_path / "good"))
    assert list(found.metadata) == [key for key, _ in metadata]
    assert found.metadata["b"] == 1e-5
    assert list(found.metadata["tokenizer.ggml.tokens"]) == ["x", "y" * 5000, ""]
    assert [(t.name, t.type, t.shape, t.size) for t in found.tensors] == [
        ("z", "F32", (32, 2), 256),
        ("a", "Q8_0", (64,), 68),
    ]
    assert found.parameter_count == 128


TYPES_Q8 = 8


def test_every_truncation_of_a_header_is_an_error(shared: Path, tmp_path: Path) -> None:
    whole = (shared / "zoo" / "qwen2" / "model-f16.gguf").read_bytes()
    path = tmp_path / "cut"
    for length in [*range(400), *range(400, 14_000, 97)]:
        path.write_bytes(whole[:length])
        with pytest.raises(SourceError):
            inventory.read(path)


def mutated(whole: bytes, random_source: random.Random) -> bytes:
    """A few bytes of the header flipped, or a count or length made extreme."""
    content = bytearray(whole)
    for _ in range(random_source.choice((1, 1, 2, 8))):
        at = random_source.randrange(min(len(content), 13_000) - 8)
        if random_source.random() < 0.5:
            content[at] = random_source.randrange(256)
        else:
            extreme = random_source.choice(
                (0, 1, (1 << 31) - 1, 1 << 31, (1 << 63) - 1, (1 << 64) - 1)
            )
            content[at : at + 8] = struct.pack("<Q", extreme)
    return bytes(content)


def test_mutated_headers_give_an_inventory_or_our_error(shared: Path, tmp_path: Path) -> None:
    """A sample of the 50,000 that `benchmarks/convert.py --fuzz` runs."""
    from converters.plan import plan

    whole = (shared / "zoo" / "qwen2" / "model-f16.gguf").read_bytes()
    random_source, path = random.Random(7), tmp_path / "mutant"
    refused = 0
    for _ in range(600):
        path.write_bytes(mutated(whole, random_source))
        try:
            plan(inventory.read(path), compact=True)
        except SourceError:
            refused += 1
    assert refused > 200


ABSURD: list[tuple[str, Any, str]] = [
    ("llama.block_count", 0, "llama.block_count"),
    ("llama.block_count", 1 << 30, "llama.block_count"),
    ("llama.block_count", 3, "llama.block_count"),
    ("llama.attention.head_count", 0, "llama.attention.head_count"),
    ("llama.attention.head_count", "four", "llama.attention.head_count"),
    ("llama.embedding_length", 1 << 31, "llama.embedding_length"),
    ("llama.embedding_length", 32, "llama.embedding_length"),
    ("llama.attention.layer_norm_rms_epsilon", float("nan"), "layer_norm_rms_epsilon"),
    ("llama.rope.freq_base", -1.0, "llama.rope.freq_base"),
    ("llama.rope.freq_base", None, ""),
    ("llama.embedding_length", None, "llama.embedding_length"),
    ("tokenizer.ggml.bos_token_id", 1 << 20, "bos_token_id"),
    ("tokenizer.ggml.tokens", ["a", "b"], "tokenizer.ggml.token_type"),
    ("tokenizer.ggml.tokens", [f"t{i}" for i in range(513)], "tokenizer.ggml.token_type"),
    ("tokenizer.ggml.model", "mystery", "mystery"),
    ("tokenizer.ggml.pre", "mystery", "mystery"),
]


@pytest.mark.parametrize(("key", "content", "named"), ABSURD)
def test_absurd_metadata_is_an_error_that_names_the_key(
    key: str, content: Any, named: str, shared: Path
) -> None:
    from dataclasses import replace

    from converters.gguf.metadata_files import small_files
    from converters.plan import plan

    good = inventory.read(shared / "zoo" / "llama" / "model-f16.gguf")
    metadata = {k: v for k, v in good.metadata.items() if k != key}
    if content is not None:
        metadata[key] = content
    bad = replace(good, metadata=metadata)
    if not named:
        assert plan(bad, compact=True).config["rope_theta"] == 10000.0
        return
    with pytest.raises(SourceError) as caught:
        small_files(bad, plan(bad, compact=True).config)
    assert named in str(caught.value)


def test_split_files_are_one_model_in_any_order(tmp_path: Path) -> None:
    def part(number: int) -> Path:
        metadata: list[tuple[str | bytes, Any]] = [
            ARCHITECTURE,
            ("split.no", number),
            ("split.count", 2),
            ("split.tensors.count", 2),
        ]
        return Gguf(metadata=metadata, tensors=[Entry(f"t{number}")]).write(tmp_path / f"{number}")

    found = inventory.read([part(1), part(0)])
    assert [t.name for t in found.tensors] == ["t0", "t1"]
    with pytest.raises(MissingPart, match="2 parts, and 1 are here"):
        inventory.read([part(0)])
    with pytest.raises(MissingPart):
        inventory.read([part(0), part(0)])


def test_the_inventory_needs_no_numpy() -> None:
    code = "import sys, converters.inventory, converters.gguf.source; print('numpy' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
