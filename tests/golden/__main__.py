"""`python -m tests.golden [-v] FILE…`: prints `NAME: n of m` a file and, with -v, each case that differs.

A file's name says its format (`parsers.jsonl`, `parsers-more.jsonl`); `tests/golden/<format>.py` has
`evaluate(case) -> str | None`: None when our answer is the wanted one, else what differs. A `Deliberate` passes.
"""

import argparse
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.golden import Deliberate

FORMATS = [
    "gotemplate",
    "names",
    "modelfile",
    "options",
    "humanise",
    "renderers",
    "parsers",
    "tools",
    "thinking",
    "harmony",
    "openai",
    "anthropic",
]


Evaluate = Callable[[dict[str, Any]], str | None]


def format_of(path: Path) -> str:
    """The golden format that a file's name begins with or contains."""
    for name in sorted(FORMATS, key=len, reverse=True):
        if name in path.stem:
            return name
    raise SystemExit(f"{path.name}: none of the formats {', '.join(FORMATS)}")


def run_case(evaluate: Evaluate, case: dict[str, Any]) -> str | None:
    """What differs; a crash of ours is a difference too."""
    try:
        return evaluate(case)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def run_file(path: Path, verbose: bool = False) -> tuple[int, int]:
    """How many cases of a file pass, of how many."""
    evaluate: Evaluate = importlib.import_module(f"tests.golden.{format_of(path)}").evaluate
    passed = total = 0
    for line in path.read_bytes().splitlines():  # text would also be split at U+2028
        case = json.loads(line)
        total += 1
        difference = run_case(evaluate, case)
        passed += difference is None or isinstance(difference, Deliberate)
        if verbose and difference is not None:
            print(f"  {case.get('id')}: {difference}")
    return passed, total


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m tests.golden")
    arguments.add_argument("files", nargs="+", type=Path)
    arguments.add_argument("-v", "--verbose", action="store_true")
    chosen = arguments.parse_args()
    complete = True
    for path in chosen.files:
        passed, total = run_file(path, chosen.verbose)
        complete &= passed == total
        print(f"{path.stem}: {passed} of {total}")
    sys.exit(0 if complete else 1)


if __name__ == "__main__":
    main()
