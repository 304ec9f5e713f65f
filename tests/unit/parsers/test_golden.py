"""Replies as Ollama's own parsers read them; where we differ, a rule of `tests.golden.differences` says why."""

import importlib
import json
import lzma
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from mlx_ollama.parsers.builtin.passthrough import Passthrough
from tests.conftest import DATA
from tests.golden import Deliberate
from tests.golden.__main__ import run_file
from tests.golden.parsers import evaluate_total

FORMATS = ("parsers", "tools", "thinking", "harmony")


def cases(name: str) -> list[dict[str, Any]]:
    with lzma.open(DATA / "parsers" / f"{name}.jsonl.xz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@cache
def differences(name: str) -> dict[str, str | None]:
    evaluate = importlib.import_module(f"tests.golden.{name}").evaluate
    return {case["id"]: evaluate(case) for case in cases(name)}


@pytest.mark.parametrize("name", FORMATS)
def test_every_reply_gives_the_reference_s_total_however_it_is_split(name: str) -> None:
    found = differences(name).items()
    wrong = {key: text for key, text in found if text and not isinstance(text, Deliberate)}
    assert wrong == {}


@pytest.mark.parametrize("name", FORMATS)
def test_the_files_beside_the_checkout_pass_too(shared: Path, name: str) -> None:
    passed, total = run_file(shared / "golden" / "go" / f"{name}.jsonl")
    assert passed == total > 0


def test_most_replies_are_read_exactly_as_the_reference_reads_them() -> None:
    exact = Counter(text is None for text in differences("parsers").values())
    assert exact[True] > 3 * exact[False]


def test_the_rules_of_differences_do_not_excuse_a_parser_that_reads_nothing() -> None:
    runs = [(case, run) for case in cases("parsers") for run in case.get("runs", ())]
    needed = [
        (case, run)
        for case, run in runs
        if run.get("total", {}).get("thinking") or run.get("total", {}).get("tool_calls")
    ]
    excused = [case["id"] for case, run in needed if not is_failure(case, run)]
    assert len(excused) < len(needed) / 20


def is_failure(case: dict[str, Any], run: dict[str, Any]) -> bool:
    difference = evaluate_total(case, Passthrough, run)
    return difference is not None and not isinstance(difference, Deliberate)
