"""Go templates and built-in formats, to the character of what Ollama's own packages printed."""

import importlib
import json
import lzma
from typing import Any

import pytest

from tests.conftest import DATA
from tests.golden.__main__ import run_case


def cases(name: str) -> list[dict[str, Any]]:
    with lzma.open(
        DATA / "prompt" / f"{name}.jsonl.xz", "rt", encoding="utf-8", newline="\n"
    ) as lines:
        return [json.loads(line) for line in lines]


@pytest.mark.parametrize(("name", "count"), [("gotemplate", 1484), ("renderers", 1406)])
def test_every_recorded_case_is_met(name: str, count: int) -> None:
    evaluate = importlib.import_module(f"tests.golden.{name}").evaluate
    recorded = cases(name)
    different = {
        case["id"]: text for case in recorded if (text := run_case(evaluate, case)) is not None
    }
    assert different == {}
    assert len(recorded) == count
