"""Modelfiles parsed, printed and made create requests, against the Go reference's answers."""

import base64
import math
from typing import Any

import msgspec

from mlx_ollama.create.modelfile import decode_modelfile, parse_modelfile
from mlx_ollama.create.request import request_of
from mlx_ollama.errors import InvalidRequest
from mlx_ollama.store.modelfile import Command, print_modelfile, quote, unquote


def evaluate(case: dict[str, Any]) -> str | None:
    wanted = {key: case[key] for key in ("want", "error", "encode_error") if key in case}
    try:
        got: dict[str, Any] = OPERATIONS[case["op"]](case)
    except InvalidRequest as error:
        got = {"error": str(error)}
    return None if got == wanted else f"want {wanted}, got {got}"


def text_of(case: dict[str, Any]) -> str:
    content = case.get("input_b64")
    return decode_modelfile(base64.b64decode(content) if content else case["input"].encode())


def modelfile(case: dict[str, Any]) -> dict[str, Any]:
    commands = parse_modelfile(text_of(case))
    printed = print_modelfile(commands)
    answer: dict[str, Any] = {
        "commands": [list(command) for command in commands],
        "string": printed,
    }
    try:
        again = parse_modelfile(printed)
        if again == commands:
            answer["round_trip"] = True
        else:
            answer["reparsed"] = [list(command) for command in again]
    except InvalidRequest as error:
        answer["reparse_error"] = str(error)
    return {"want": answer}


def quoting(case: dict[str, Any]) -> dict[str, Any]:
    value = unquote(case["input"])
    return {
        "want": {
            "quote": quote(case["input"]),
            "unquote": value or "",
            "unquote_ok": value is not None,
        }
    }


def command_string(case: dict[str, Any]) -> dict[str, Any]:
    return {"want": str(Command(case["name"], case["args"]))}


def create_request(case: dict[str, Any]) -> dict[str, Any]:
    request = request_of(parse_modelfile(text_of(case)))
    for value in request.parameters.values():
        if isinstance(value, float) and not math.isfinite(value):
            word = "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
            return {"encode_error": f"json: unsupported value: {word}"}
    return {"want": {"model": "", "name": "", **msgspec.to_builtins(request)}}


OPERATIONS = {
    "modelfile": modelfile,
    "quote": quoting,
    "command_string": command_string,
    "create_request": create_request,
}
