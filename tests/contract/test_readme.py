"""The tables of the README against what the code does."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from converters.architectures import SUPPORTED
from converters.checkpoints import FAMILIES
from converters.quantize.recipes import ALIASES, CASTS, RECIPES
from mlx_ollama import config
from mlx_ollama.api.options import Options
from mlx_ollama.inference.options import HONOURED, INERT
from tests.conftest import ROOT
from tests.contract.test_transcripts import SMOL
from tests.serving import ServerProcess

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


@pytest.mark.e2e
@pytest.mark.timeout(180)
def test_the_example_of_structured_output_works(tmp_path: Path) -> None:
    if not SMOL.exists():
        pytest.skip("SmolLM2 is not here: MLX_OLLAMA_TEST_GGUF names its file")
    program = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0]
    with ServerProcess(tmp_path) as server:
        _create(server.url, "smollm2:135m", SMOL)
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"OLLAMA_HOST": server.url},
            capture_output=True,
            check=True,
        )
    answer = json.loads(done.stdout)
    assert [*answer] == ["name", "capital", "languages"]
    assert all(isinstance(language, str) for language in answer["languages"])


def _create(url: str, name: str, file: Path) -> None:
    content = file.read_bytes()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    httpx.post(f"{url}/api/blobs/{digest}", content=content, timeout=60).raise_for_status()
    body = {"model": name, "files": {"model.gguf": digest}}
    httpx.post(f"{url}/api/create", json=body, timeout=60).raise_for_status()


def test_every_architecture_is_listed() -> None:
    _, gguf, safetensors = section("Models").strip().split("\n\n")
    assert names(gguf) - {"general.architecture"} == set(SUPPORTED)
    assert names(safetensors) - {"model_type"} == set(FAMILIES)
