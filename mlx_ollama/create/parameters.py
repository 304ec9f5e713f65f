"""The text of PARAMETER lines to option values."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from mlx_ollama.errors import InvalidRequest
from mlx_ollama.prompt.go_strconv import parse_float

_INTEGERS = [
    "num_ctx",
    "num_batch",
    "num_gpu",
    "main_gpu",
    "num_thread",
    "draft_num_predict",
    "num_keep",
    "seed",
    "num_predict",
    "top_k",
    "repeat_last_n",
]
_FLOATS = [
    "top_p",
    "min_p",
    "typical_p",
    "temperature",
    "repeat_penalty",
    "presence_penalty",
    "frequency_penalty",
]
_BOOLEANS = ("use_mmap",)
# Once options; a Modelfile that has them still works.
DEPRECATED = [
    "penalize_newline",
    "low_vram",
    "f16_kv",
    "logits_all",
    "vocab_only",
    "use_mlock",
    "mirostat",
    "mirostat_tau",
    "mirostat_eta",
]
_TRUTHS = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}


def parse_parameters(texts: Mapping[str, list[str]]) -> dict[str, Any]:
    """Each option's value from what was written for it. Only `stop` takes more than the first text.

    `InvalidRequest`: `unknown parameter 'x'`, `invalid int value [x]` …
    """
    return {name: _parse(name, values) for name, values in texts.items()}


def _parse(name: str, values: list[str]) -> Any:
    if name == "stop":
        return values
    for kind, names, parse in _KINDS:
        if name in names:
            value = parse(values[0])
            if value is None:
                raise InvalidRequest(f"invalid {kind} value [{' '.join(values)}]")
            return value
    raise InvalidRequest(f"unknown parameter '{name}'")


def _integer(text: str) -> int | None:
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not (digits.isascii() and digits.isdigit()):
        return None
    number = int(text)
    return number if -(2**63) <= number < 2**63 else None


def _float(text: str) -> float | None:
    """In float32, as the shortest decimal that is the same one."""
    number = _special(text)
    return parse_float(text) if number is None else number


def _special(text: str) -> float | None:
    word = text.lower().removeprefix("+")
    sign = -1 if word.startswith("-") else 1
    if word.removeprefix("-") in ("inf", "infinity"):
        return sign * math.inf
    return math.nan if word == "nan" else None


_KINDS: tuple[tuple[str, tuple[str, ...] | list[str], Callable[[str], Any]], ...] = (
    ("int", _INTEGERS, _integer),
    ("float", _FLOATS, _float),
    ("bool", _BOOLEANS, _TRUTHS.get),
)
