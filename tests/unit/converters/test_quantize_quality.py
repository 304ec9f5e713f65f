"""Every name of `quantize` stays as near to the float source as the README's table says."""

import re
from pathlib import Path

from benchmarks.quantize import measure, names
from tests.conftest import ROOT


def limits() -> dict[str, float]:
    """The last column of the README's table, by name; an alias counts as its own."""
    readme = (ROOT / "README.md").read_text()
    table = readme.partition("## Quantise on create")[2].partition("\n## ")[0]
    rows = [line.split("|") for line in table.splitlines() if re.match(r"\| `", line)]
    return {name: float(row[-2]) for row in rows for name in re.findall(r"`([^`]+)`", row[1])}


def test_divergence_of_every_name_is_below_its_limit(shared: Path) -> None:
    rows = {row["name"]: row for row in measure(shared / "zoo" / "llama-256", 256).rows}
    wanted = limits()
    assert rows.keys() == set(names())
    over = {name: row["kl"] for name, row in rows.items() if row["kl"] > wanted[name]}
    assert over == {}
