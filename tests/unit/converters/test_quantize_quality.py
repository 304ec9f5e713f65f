"""Every name of `quantize` stays as near to the float source as the README's table says."""

from pathlib import Path

from benchmarks.quantize import measure, names

# Mean KL divergence in nats, of 256 random tokens through the zoo's larger llama.
LIMITS = {
    "f32": 1e-9, "f16": 1e-9, "bf16": 1e-4, "q8_0": 3e-4, "int8": 4e-4, "q4_K_M": 0.037, "q4_K_S": 0.039,
    "q4_0": 0.039, "int4": 0.029, "mxfp4": 0.058, "mxfp8": 0.009, "nvfp4": 0.042,
}  # fmt: skip


def test_divergence_of_every_name_is_below_its_limit(shared: Path) -> None:
    rows = {row["name"]: row for row in measure(shared / "zoo" / "llama-256", 256).rows}
    assert rows.keys() == LIMITS.keys() == set(names())
    over = {name: row["kl"] for name, row in rows.items() if row["kl"] > LIMITS[name]}
    assert over == {}
