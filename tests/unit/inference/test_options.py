"""Options, durations, `think` and request JSON as Ollama has them, and the order in which options win."""

import json
import lzma
from typing import Any

import pytest

from mlx_ollama.errors import InvalidRequest
from mlx_ollama.inference.options import HONOURED, INERT, MAX_STOPS, coerce, resolve
from tests.conftest import DATA
from tests.golden import Deliberate
from tests.golden.options import evaluate


def _cases() -> list[dict[str, Any]]:
    with lzma.open(DATA / "options" / "options.jsonl.xz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def test_every_case_is_as_the_reference_has_it() -> None:
    found = {case["id"]: evaluate(case) for case in _cases()}
    wrong = {key: text for key, text in found.items() if text and not isinstance(text, Deliberate)}
    assert wrong == {}
    assert sum(isinstance(text, Deliberate) for text in found.values()) == 2


def test_the_request_wins_over_the_model_and_the_model_over_the_environment() -> None:
    parameters = {"temperature": 0.1, "num_ctx": 100, "stop": ["a"]}
    options = resolve(parameters, {"temperature": 0.2, "stop": None}, num_ctx=50)
    assert (options.temperature, options.num_ctx, options.stop) == (0.2, 100, ["a"])
    assert resolve({}, None, num_ctx=50).num_ctx == 50


@pytest.mark.parametrize("name", HONOURED | INERT)
@pytest.mark.parametrize("value", ["1", {}, [1], True, 1])
def test_a_wrong_type_is_refused_by_name(name: str, value: Any) -> None:
    fits = {int: (1,), float: (1,), bool: (True,), list: ()}[(HONOURED | INERT)[name]]
    if any(value is one for one in fits):
        assert coerce({name: value}) == {name: value}
    else:
        with pytest.raises(InvalidRequest, match=f'option "{name}" must be of '):
            coerce({name: value})


@pytest.mark.parametrize("value", [-(2**63), -1, 0, 2**31, 2**63, 2**70, 1.5, 1e300])
@pytest.mark.parametrize("name", [name for name, kind in HONOURED.items() if kind is int])
def test_every_number_is_an_integer_of_64_bits(name: str, value: float) -> None:
    assert -(2**63) <= getattr(resolve({}, {name: value}), name) < 2**63


def test_a_number_that_is_none_is_refused() -> None:
    for value in (float("nan"), float("inf"), 10**400):
        with pytest.raises(InvalidRequest, match='option "temperature" must be a finite number'):
            resolve({}, {"temperature": value})


def test_unknown_and_removed_options_change_nothing() -> None:
    assert resolve({}, {"mirostat": 2, "numa": True, "x": []}) == resolve({}, None)


def test_stop_strings_are_bounded() -> None:
    with pytest.raises(InvalidRequest, match='option "stop" has more than'):
        resolve({}, {"stop": ["x"] * (MAX_STOPS + 1)})
