"""A request body to its struct: strictly first, then as tolerantly as Go decodes.

Go's tolerance (contract 2.1): keys of any case, null for anything, bytes after the first value, lone surrogates;
an error names the first field that does not fit, in Go's words.
"""

import binascii
import types
from base64 import b64decode
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Raw, Struct, UnsetType
from msgspec.structs import fields

from mlx_ollama.api import go_json
from mlx_ollama.api.messages import Message, Tool, ToolCallFunction, ToolParameters, ToolProperty
from mlx_ollama.api.values import KeepAlive, Tools, check_think
from mlx_ollama.errors import NOT_JSON, InvalidRequest

Request = TypeVar("Request")
Path = tuple[str, ...]
_INT64 = range(-(2**63), 2**63)


def decode(body: bytes, kind: type[Request]) -> Request:
    """The request in a body; `InvalidRequest` with Go's text when there is none."""
    try:
        go_json.check_size(body)
        request = _strict_decoder(kind).decode(body)
    except go_json.JSONError as error:
        raise InvalidRequest(str(error)) from error
    except NOT_JSON:
        return decode_tolerantly(body, kind)
    if _lacks_model(request):
        return decode_tolerantly(body, kind)
    return request


def decode_tolerantly(body: bytes, kind: type[Request]) -> Request:
    """The same, as Go would; slower."""
    try:
        return convert(go_json.parse(body), kind)
    except ValueError as error:
        raise InvalidRequest(str(error)) from error


@cache
def _strict_decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind, dec_hook=_hook)


def _hook(kind: type, value: Any) -> Any:
    if kind is KeepAlive:
        return KeepAlive.of(value)
    return convert(value, kind)


def _lacks_model(request: Any) -> bool:
    """Then the key may have been written in another case."""
    return not any(getattr(request, name, "") for name in ("model", "name", "source"))


def convert(tree: Any, kind: type[Request]) -> Request:
    """A parsed JSON value as a `kind`; ValueError with Go's text."""
    converter = _Converter()
    made = converter.value(tree, kind, ())
    if converter.first is not None:
        raise ValueError(converter.first)
    return made


def decode_base64(text: str) -> bytes:
    """Standard base64 with padding; line ends are allowed inside. ValueError with Go's text."""
    clean = text.replace("\r", "").replace("\n", "")
    try:
        return b64decode(clean, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"illegal base64 data at input byte {_base64_fault(text)}") from None


def _base64_fault(text: str) -> int:
    """Where Go gives up: at a character outside the alphabet, or at the start of a short last group."""
    for index, character in enumerate(text):
        if not (character.isascii() and (character.isalnum() or character in "+/\r\n")):
            return index
    return max(len(text) - 1, 0) // 4 * 4


class _Field(NamedTuple):
    name: str
    key: str
    hint: Any


@cache
def _fields_of(kind: Any) -> dict[str, _Field]:
    """By their JSON key, exact and in lower case."""
    hints = get_type_hints(kind)
    known = [_Field(field.name, field.encode_name, hints[field.name]) for field in fields(kind)]
    return {field.key.lower(): field for field in known} | {field.key: field for field in known}


class _Converter:
    """Walks a JSON tree beside a type. `first` is what Go would say about the first value that does not fit."""

    def __init__(self) -> None:
        self.first: str | None = None
        self._struct = ""
        self._is_fixed = (
            False  # inside a struct with a decoder of its own: errors name what is around it
        )

    def value(self, value: Any, kind: Any, path: Path) -> Any:
        """`value` as a `kind`; `path` are the keys that led here. None where it does not fit."""
        for fits, make in _MAKERS:
            if fits(kind):
                return make(self, value, kind, path)
        raise TypeError(f"no way to decode {kind}")

    def misfit(self, value: Any, go_type: str, path: Path) -> None:
        """Go goes on decoding and reports the first one."""
        if self.first is None:
            where = f"struct field {self._struct}.{'.'.join(path)}" if path else "value"
            self.first = (
                f"json: cannot unmarshal {_json_kind(value)} into Go {where} of type {go_type}"
            )

    def structure(self, value: Any, kind: Any, path: Path) -> Any:
        if value is None:
            return kind()
        if not isinstance(value, dict):
            self.misfit(value, "api.Alias" if kind is Message else _go_type(kind), path)
            return kind()
        outer = self._struct, self._is_fixed
        if not self._is_fixed:
            self._struct = _go_struct(kind) if kind is not Message or path else "Alias"
        if kind in (Message, ToolProperty) and path:
            self._struct, self._is_fixed = outer[0], True
        given = self._given(value, kind, path)
        self._struct, self._is_fixed = outer
        return kind(**given)

    def _given(self, value: dict[str, Any], kind: Any, path: Path) -> dict[str, Any]:
        known = _fields_of(kind)
        given: dict[str, Any] = {}
        for key, item in value.items():
            field = known.get(key) or known.get(key.lower())
            if field is None:
                continue
            made = self._field(item, kind, field, (*path, field.key))
            if made is not None:
                given[field.name] = made
        return given

    def _field(self, item: Any, kind: Any, field: _Field, path: Path) -> Any:
        special = _SPECIAL.get((kind, field.name))
        if special is not None:
            return special(self, item, path)
        return None if item is None else self.value(item, field.hint, path)

    def sequence(self, value: Any, kind: Any, path: Path) -> Any:
        if value is None:
            value = []
        if not isinstance(value, list):
            return self.misfit(value, _go_type(kind), path)
        element = _element(kind)
        made = [self.value(item, element, path) for item in value]
        return Tools(made) if kind is Tools else made

    def mapping(self, value: Any, kind: Any, path: Path) -> Any:
        if value is None:
            return {}
        if not isinstance(value, dict):
            return self.misfit(value, _go_type(kind), path)
        element = get_args(kind)[1]
        return {key: self.value(item, element, path) for key, item in value.items()}

    def scalar(self, value: Any, kind: Any, path: Path) -> Any:
        if value is None:
            return kind()
        if type(value) is kind and (kind is not int or value in _INT64):
            return value
        return self.misfit(value, _go_type(kind), path)

    def image(self, value: Any, _kind: Any, path: Path) -> Any:
        if value is None:
            return b""
        if not isinstance(value, str):
            return self.misfit(value, "api.ImageData", path)
        return decode_base64(value)

    def union(self, value: Any, kind: Any, path: Path) -> Any:
        """What may be absent; with more than one type left it is `think`."""
        kinds = [item for item in get_args(kind) if item not in (types.NoneType, UnsetType)]
        return check_think(value) if len(kinds) > 1 else self.value(value, kinds[0], path)

    def property_type(self, value: Any, path: Path) -> list[str] | None:
        """A name or a list of names; null is an empty name."""
        if value is None or isinstance(value, str):
            return [value or ""]
        return self.sequence(value, list[str], path)

    def ordered_object(self, value: Any, path: Path) -> Any:
        """Arguments and properties, which Go reads with a library of its own."""
        if value is None:
            return None
        if not isinstance(value, dict):
            raise ValueError("Value looks like object, but can't find closing '}' symbol")
        element = ToolProperty if path[-1] == "properties" else Any
        return {key: self.value(item, element, path) for key, item in value.items()}


_SPECIAL: dict[tuple[Any, str], Callable[[_Converter, Any, Path], Any]] = {
    (ToolProperty, "type"): _Converter.property_type,
    (ToolProperty, "properties"): _Converter.ordered_object,
    (ToolParameters, "properties"): _Converter.ordered_object,
    (ToolCallFunction, "arguments"): _Converter.ordered_object,
}


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


_MAKERS: tuple[tuple[Callable[[Any], bool], Callable[[_Converter, Any, Any, Path], Any]], ...] = (
    (lambda kind: kind is Any, lambda _c, value, _k, _p: go_json.plain(value)),
    (lambda kind: kind is Raw, lambda _c, value, _k, _p: Raw(go_json.compact(value))),
    (lambda kind: kind is KeepAlive, lambda _c, value, _k, _p: KeepAlive.of(value)),
    (lambda kind: kind is bytes, _Converter.image),
    (lambda kind: kind in (str, int, bool), _Converter.scalar),
    (_is_struct, _Converter.structure),
    (lambda kind: get_origin(kind) in (Union, types.UnionType), _Converter.union),
    (lambda kind: kind is Tools or get_origin(kind) is list, _Converter.sequence),
    (lambda kind: get_origin(kind) is dict, _Converter.mapping),
)


def _element(kind: Any) -> Any:
    return Tool if kind is Tools else get_args(kind)[0]


def _json_kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, go_json.GoFloat):
        return f"number {value.literal}"
    if isinstance(value, int | float):
        return "number" if value in _INT64 else f"number {value}"
    return {str: "string", list: "array", dict: "object"}[type(value)]


def _go_struct(kind: type) -> str:
    return "ToolFunctionParameters" if kind is ToolParameters else kind.__name__


def _go_type(kind: Any) -> str:
    """A type of ours as Go writes it."""
    if get_origin(kind) is list:
        return f"[]{_go_type(_element(kind))}"
    if get_origin(kind) is dict:
        return f"map[string]{_go_type(get_args(kind)[1])}"
    names = {str: "string", int: "int", bool: "bool", bytes: "api.ImageData", Any: "interface {}"}
    return names.get(kind) or f"api.{_go_struct(kind)}"
