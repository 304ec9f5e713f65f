"""The tables of the README against what the code does."""

import re

from converters.quantize.recipes import ALIASES, CASTS, RECIPES
from mlx_ollama import config
from mlx_ollama.api.options import Options
from mlx_ollama.inference.options import HONOURED, INERT
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()


def section(title: str) -> str:
    return README.partition(f"## {title}\n")[2].partition("\n## ")[0]


def names(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


def rows(title: str) -> list[list[str]]:
    lines = [line for line in section(title).splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_option_has_its_place() -> None:
    honoured, inert, unknown = (names(row[0]) for row in rows("Generation options"))
    assert honoured == set(HONOURED) == set(Options.__struct_fields__)
    assert inert == set(INERT)
    assert not unknown & (honoured | inert)


def test_every_setting_is_listed() -> None:
    listed = {name for row in rows("Settings") for name in names(row[0])}
    source = (ROOT / "mlx_ollama" / "config.py").read_text()
    assert listed == set(re.findall(r'"((?:MLX_)?OLLAMA_[A-Z_]+)"', source))
    assert config.Settings().num_parallel == 4


def test_every_quantisation_is_listed() -> None:
    listed = {name.upper() for row in rows("Quantise on create") for name in names(row[0])}
    assert listed == {*RECIPES, *CASTS, *ALIASES}
