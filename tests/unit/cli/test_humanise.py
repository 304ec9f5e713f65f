from pathlib import Path

import pytest

from mlx_ollama.cli.humanise import human_bytes, human_duration, human_time
from mlx_ollama.cli.show_text import value_text
from mlx_ollama.cli.tables import table, wrap
from tests.golden.__main__ import run_file

MINUTE = 60 * 1_000_000_000


def test_all_numbers_and_tables_are_the_references(shared: Path) -> None:
    passed, total = run_file(shared / "golden" / "go" / "humanise.jsonl")
    assert passed == total > 200


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999_999, "999 KB"), (1999, "2.0 KB"), (4_661_224_676, "4.7 GB")],
)
def test_sizes_are_cut_from_ten_up_and_rounded_below(count: int, text: str) -> None:
    assert human_bytes(count) == text


def test_times_are_told_from_now() -> None:
    assert human_time(-5 * MINUTE) == "5 minutes from now"
    assert human_time(-(10**18)) == "Forever"
    assert human_time(None, "Never") == "Never"
    assert human_duration(23 * 60 * MINUTE + 30 * MINUTE) == "24 hours"


def test_cells_are_padded_by_their_width_on_a_terminal() -> None:
    assert table([["模:x", "b"], ["a", "c"]], ["N", "M"]) == (
        "N       M \n模:x    b    \na       c    \n"
    )


def test_long_cells_are_wrapped_evenly() -> None:
    assert wrap("aaa bbb ccc ddd", 8) == ["aaa bbb", "ccc ddd"]
    assert wrap("unbreakable", 3) == ["unbreakable"]
    assert table([["one two", "x"]], limit=3) == "one    x    \ntwo         \n"


def test_long_lists_are_cut() -> None:
    assert value_text(list(range(8))) == "[0 1 2 ...+5 more]"
    assert value_text([None, True]) == "[<nil> ...+1 more]"
