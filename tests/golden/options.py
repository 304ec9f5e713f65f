"""Options, durations, `think`, and request JSON (golden/go/options.jsonl; README-A.md names the operations)."""

import base64
import json
import math
import struct
from typing import Any

from msgspec import Raw, Struct
from msgspec.structs import fields

from mlx_ollama import durations
from mlx_ollama.api import go_json, messages, models, ollama
from mlx_ollama.api.decoding import convert, decode
from mlx_ollama.api.options import Options
from mlx_ollama.api.values import KeepAlive, Tools, check_think
from mlx_ollama.inference import options
from mlx_ollama.prompt.go_json import Object, as_request_numbers, marshal
from tests.golden import Deliberate

_KINDS: dict[str, Any] = {
    name: kind for module in (messages, models, ollama) for name, kind in vars(module).items()
}
_DEFAULTS = {
    "num_batch": 512,
    "num_gpu": -1,
    "num_thread": 0,
    "draft_num_predict": 4,
    "main_gpu": None,
    "use_mmap": None,
}  # fmt: skip - of the options that have no effect here
_INT64_MIN = -(2**63)
# Written even when empty, by struct (Go without omitempty); others are left out.
_ALWAYS = {
    "Message": "role content", "ToolCall": "function", "ToolCallFunction": "index name arguments",
    "Tool": "type function", "ToolFunction": "name parameters", "ToolParameters": "type properties",
    "ChatRequest": "model messages options", "EmbedRequest": "model input options",
    "GenerateRequest": "model prompt suffix system template options", "CopyRequest": "source destination",
    "CreateRequest": "model name",
}  # fmt: skip
_ORDER = {
    "ChatRequest": "model messages stream format keep_alive tools options think truncate shift debug_render_only "
    "logprobs top_logprobs",
    "GenerateRequest": "model prompt suffix system template context stream raw format keep_alive images options "
    "think truncate shift debug_render_only logprobs top_logprobs",
    "CreateRequest": "model stream from_ files license name",
    "ToolParameters": "type defs items required properties",
}


def evaluate(case: dict[str, Any]) -> str | None:
    """None when our answer is the wanted one."""
    body = _body(case)
    try:
        got = _OPERATIONS[case["op"]](case, body)
    except ValueError as error:
        got = str(error)
    except Exception as error:
        if type(error).__module__ != "mlx_ollama.errors":
            raise
        got = str(error)
    want = case.get("http_error") or case.get("error", case.get("want"))
    want = _with_saturation(case, want)
    if got == want:
        return None
    text = f"want {want!r}, got {got!r}"
    return Deliberate(text) if _is_deliberate(case) else text


def _is_deliberate(case: dict[str, Any]) -> bool:
    """A call without arguments has empty ones (contract 3.9), and a whole zero has no sign."""
    return '"arguments":null' in case["input"] or case["input"] == "-0"


def _with_saturation(case: dict[str, Any], want: Any) -> Any:
    """Beyond 64 bits the reference gives what its processor does; ours saturates, as it does on arm64."""
    if "arm64 saturates" not in case.get("note", ""):
        return want
    if case["op"] == "options":
        return {name: 2**63 - 1 if value == _INT64_MIN else value for name, value in want.items()}
    return _duration(durations.FOREVER)


def _body(case: dict[str, Any]) -> bytes:
    if case.get("input_b64"):
        return base64.b64decode(case["input_b64"])
    given = case.get("input", "")
    return given.encode() if isinstance(given, str) else json.dumps(given).encode()


def _default_options(_case: dict[str, Any], _body: bytes) -> Any:
    default = Options()
    ours = {field.name: getattr(default, field.name) for field in fields(Options)}
    return _DEFAULTS | ours | {"stop": None}


def _options(case: dict[str, Any], body: bytes) -> Any:
    given = _parsed(body, dict[str, Any])
    default = _default_options(case, b"")
    made = {name: _float32(value) for name, value in options.coerce(given).items()}
    return {name: value for name, value in made.items() if value != default[name]}


def _float32(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}[str(value)]
    try:
        narrow = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return "+Inf" if value > 0 else "-Inf"
    if not math.isfinite(narrow):
        return "+Inf" if value > 0 else "-Inf"
    return next(
        short for digits in range(1, 10)
        if struct.pack("f", short := float(f"{narrow:.{digits}g}")) == struct.pack("f", narrow)
    )  # fmt: skip


def _format_parameters(case: dict[str, Any], _body: bytes) -> Any:
    made = options.format_parameters(case["input"])
    return {name: _float32(value) for name, value in made.items()}


def _parsed(body: bytes, kind: Any) -> Any:
    """Decoded as Go's Unmarshal, which has other words than its Decoder for a body that ends early."""
    try:
        return convert(go_json.parse(body), kind)
    except go_json.EmptyBody as error:
        raise ValueError("unexpected end of JSON input") from error
    except go_json.JSONError as error:
        text = str(error).replace("unexpected EOF", "unexpected end of JSON input")
        raise ValueError(text) from error


def _field(body: bytes, make: Any) -> Any:
    """The value of one field, decoded inside an object as the reference's driver does."""
    try:
        value = go_json.parse(b'{"field":' + body + b"}")["field"]
    except go_json.JSONError as error:
        text = str(error).replace("unexpected EOF", "unexpected end of JSON input")
        raise ValueError(text) from error
    return None if value is None else make(value)


def _duration(nanoseconds: int) -> dict[str, Any]:
    text = durations.show(nanoseconds)
    return {"go": text, "json": json.dumps(text, ensure_ascii=False), "ns": nanoseconds}


def _keep_alive(_case: dict[str, Any], body: bytes) -> Any:
    return _field(body, lambda value: _duration(KeepAlive.of(value)))


def _go_duration(_case: dict[str, Any], body: bytes) -> Any:
    nanoseconds = durations.parse(body.decode())
    return {"go": durations.show(nanoseconds), "ns": nanoseconds}


def _think(_case: dict[str, Any], body: bytes) -> Any:
    return _field(body, lambda value: _think_facts(check_think(value)))


def _think_facts(think: Any) -> dict[str, Any]:
    is_bool = isinstance(think, bool)
    return {
        "bool": bool(think), "is_bool": is_bool, "is_string": not is_bool, "json": json.dumps(think),
        "nil": False, "string": ("medium" if think else "") if is_bool else think, "valid": True,
    }  # fmt: skip


def _roundtrip(case: dict[str, Any], body: bytes) -> Any:
    name = case["type"]
    if name == "PropertyType":
        try:
            tool = convert({"type": _parsed(body, Any)}, messages.ToolProperty)
        except ValueError as error:
            raise ValueError(
                str(error).replace("struct field ToolProperty.type", "value")
            ) from error
        return marshal(_one_or_many(tool.type))
    kind = Tools if name == "Tools" else _KINDS[name]
    if case.get("via") == "decoder":
        return marshal(_encoded(decode(body, kind)))
    made = _parsed(body, kind)
    return "null" if name == "Tools" and body == b"null" else marshal(_encoded(made))


def _one_or_many(names: list[str]) -> Any:
    return names[0] if len(names) == 1 else names


def _encoded(value: Any) -> Any:
    """A struct as Go would encode it; maps inside `Any` are sorted there."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, KeepAlive):
        return durations.show(value)
    if isinstance(value, Raw):
        return json.loads(bytes(value), object_pairs_hook=Object)
    if isinstance(value, list):
        return [_encoded(item) for item in value]
    if not isinstance(value, Struct):
        return value
    return _encoded_struct(value)


def _encoded_struct(value: Struct) -> dict[str, Any]:
    name = type(value).__name__
    always = _ALWAYS.get(name, "").split()
    known = {field.name: field for field in fields(value)}
    made = Object()
    for field_name in _ORDER[name].split() if name in _ORDER else known:
        item = getattr(value, field_name)
        if field_name in always or _is_written(name, field_name, item):
            made[known[field_name].encode_name] = _encoded_field(name, field_name, item)
    return made


def _is_written(struct_name: str, name: str, item: Any) -> bool:
    if isinstance(item, Raw):
        return bool(bytes(item))
    if struct_name == "ToolProperty" and name == "properties":
        return item is not None
    if name in ("stream", "think", "truncate", "shift", "keep_alive", "items", "defs"):
        return item is not None and not (struct_name == "CreateRequest" and name == "stream")
    return bool(item)


def _encoded_field(struct_name: str, name: str, item: Any) -> Any:
    if struct_name == "Message" and name == "role":
        return item.lower()
    if struct_name == "ToolProperty" and name == "type":
        return _one_or_many(item)
    if name == "properties":
        return (
            None if item is None else Object((key, _encoded(value)) for key, value in item.items())
        )
    if name in ("options", "items", "defs", "enum", "info"):
        return as_request_numbers(item)
    if name == "arguments":
        return Object((key, as_request_numbers(value)) for key, value in item.items())
    return _encoded(item)


_OPERATIONS = {
    "options_default": _default_options,
    "options": _options,
    "format_params": _format_parameters,
    "duration": _keep_alive,
    "go_duration": _go_duration,
    "think": _think,
    "roundtrip": _roundtrip,
    "marshal": lambda _case, body: marshal(as_request_numbers(_parsed(body, Any))),
}
