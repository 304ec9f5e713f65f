"""Generation options: defaults, then the environment's, then the model's, then the request's (contract 3.6)."""

import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlx_ollama.api.options import Options
from mlx_ollama.errors import InvalidRequest

logger = logging.getLogger(__name__)

MAX_STOPS = 64
MAX_STOP_LENGTH = 1024
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1

# Ollama's options that mean nothing here: their types are checked, their values have no effect.
INERT: dict[str, type] = {
    "num_batch": int,
    "num_gpu": int,
    "main_gpu": int,
    "num_thread": int,
    "draft_num_predict": int,
    "use_mmap": bool,
}
HONOURED: dict[str, type] = {
    "num_ctx": int,
    "num_keep": int,
    "num_predict": int,
    "seed": int,
    "top_k": int,
    "repeat_last_n": int,
    "temperature": float,
    "top_p": float,
    "min_p": float,
    "typical_p": float,
    "repeat_penalty": float,
    "presence_penalty": float,
    "frequency_penalty": float,
    "stop": list,
}
KNOWN = HONOURED | INERT


def resolve(
    parameters: Mapping[str, Any], given: Mapping[str, Any] | None, *, num_ctx: int = 0
) -> Options:
    """The options of one request. `parameters` are the model's, `given` the request's; `num_ctx` is the
    environment's, 0 for none. `InvalidRequest` names an option of the wrong type."""
    values: dict[str, Any] = {"num_ctx": num_ctx}
    for source in (parameters, given or {}):
        values |= coerce(source)
    if len(values.get("stop", ())) > MAX_STOPS:
        raise InvalidRequest(f'option "stop" has more than {MAX_STOPS} strings')
    honoured = {name: value for name, value in values.items() if name in HONOURED}
    return Options(**honoured | {"num_ctx": max(honoured["num_ctx"], 0)})


def coerce(given: Mapping[str, Any]) -> dict[str, Any]:
    """Known options with their right types; null is "not given", unknown names are left out."""
    coerced: dict[str, Any] = {}
    for name, value in given.items():
        kind = KNOWN.get(name)
        if kind is None:
            logger.debug("invalid option provided: %s", name)
        elif value is not None:
            coerced[name] = _COERCIONS[kind](name, value)
    return coerced


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _integer(name: str, value: Any) -> int:
    """Any number, cut towards zero; beyond 64 bits the nearest that fits."""
    if not _is_number(value) or value != value:
        raise InvalidRequest(f'option "{name}" must be of type integer')
    if math.isinf(value):
        return _INT64_MAX if value > 0 else _INT64_MIN
    return min(max(int(value), _INT64_MIN), _INT64_MAX)


def _float(name: str, value: Any) -> float:
    if not _is_number(value):
        raise InvalidRequest(f'option "{name}" must be of type float32')
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InvalidRequest(f'option "{name}" must be a finite number')
    return number


def _boolean(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidRequest(f'option "{name}" must be of type boolean')
    return value


def _strings(name: str, value: Any) -> list[str]:
    if not isinstance(value, list):
        raise InvalidRequest(f'option "{name}" must be of type array')
    for item in value:
        if not isinstance(item, str):
            raise InvalidRequest(f'option "{name}" must be of an array of strings')
        if len(item) > MAX_STOP_LENGTH:
            raise InvalidRequest(f'option "{name}" has a string longer than {MAX_STOP_LENGTH}')
    return value


_COERCIONS: dict[type, Callable[[str, Any], Any]] = {
    int: _integer,
    float: _float,
    bool: _boolean,
    list: _strings,
}


def format_parameters(given: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The text values of Modelfile parameters as options; InvalidRequest with Ollama's text."""
    return {name: _from_text(name, values) for name, values in given.items()}


_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_FALSE = ("0", "f", "F", "false", "FALSE", "False")
_FLOAT = re.compile(
    r"[+-]?(?:\d[\d_]*\.?[\d_]*(?:[eE][+-]?\d+)?|\.\d[\d_]*(?:[eE][+-]?\d+)?|inf|infinity|nan)",
    re.ASCII | re.IGNORECASE,
)


def _from_text(name: str, values: Sequence[str]) -> Any:
    kind = KNOWN.get(name)
    if kind is None:
        raise InvalidRequest(f"unknown parameter '{name}'")
    if kind is list:
        return list(values)
    word = {int: "int", float: "float", bool: "bool"}[kind]
    try:
        return _PARSERS[kind](values[0])
    except (ValueError, IndexError):
        raise InvalidRequest(f"invalid {word} value [{' '.join(values)}]") from None


def _text_to_int(text: str) -> int:
    if not re.fullmatch(r"[+-]?\d+", text, re.ASCII) or not _INT64_MIN <= int(text) <= _INT64_MAX:
        raise ValueError
    return int(text)


def _text_to_float(text: str) -> float:
    if re.fullmatch(r"[+-]?0[xX][0-9a-fA-F_.]+[pP][+-]?\d+", text, re.ASCII):
        return float.fromhex(text.replace("_", ""))
    if not _FLOAT.fullmatch(text):
        raise ValueError
    return float(text.replace("_", ""))


def _text_to_bool(text: str) -> bool:
    if text not in _TRUE + _FALSE:
        raise ValueError
    return text in _TRUE


_PARSERS: dict[type, Callable[[str], Any]] = {
    int: _text_to_int,
    float: _text_to_float,
    bool: _text_to_bool,
}
