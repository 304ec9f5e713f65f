"""Go's predefined template functions. Errors are `CallError` with Go's text.

A function's `parameters` are the types it declares: "value" (reflect.Value), "any" or "string"; `variadic`
says that the last may come any number of times.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote_plus

from mlx_ollama.prompt.go_strconv import decode, encode
from mlx_ollama.prompt.go_template.formatting import format_value, sprint, sprintln
from mlx_ollama.prompt.go_template.printf import sprintf
from mlx_ollama.prompt.go_template.values import (
    FALSE,
    INT,
    INVALID,
    STRING,
    TRUE,
    UINT8,
    GoType,
    Kind,
    Value,
    Window,
    element,
    indirect,
    map_entry,
    of,
    truth,
    unwrap,
    zero,
)


class CallError(Exception):
    """A function's own error: the template stops with `error calling NAME: …`."""


class Function(NamedTuple):
    call: Callable[..., Value]
    parameters: tuple[str, ...]
    variadic: bool = False


def type_name(value: Value) -> str:
    """`%s` of the value's type; of nothing, reflect panics."""
    if value.type is None:
        raise CallError("reflect: call of reflect.Value.Type on zero Value")
    return value.type.name


# ---- sizes and parts


def length(item: Value) -> Value:
    item, is_nil = indirect(item)
    if is_nil:
        raise CallError("len of nil pointer")
    if item.kind is Kind.STRING:
        return Value(INT, len(encode(item.data)))
    if item.kind in (Kind.SLICE, Kind.MAP):
        return Value(INT, len(item.data or ()))
    raise CallError(f"len of type {type_name(item)}")


def index(item: Value, *keys: Value) -> Value:
    item = unwrap(item)
    if not item.is_valid:
        raise CallError("index of untyped nil")
    for key in keys:
        key = unwrap(key)
        item, is_nil = indirect(item)
        if is_nil:
            raise CallError("index of nil pointer")
        item = _entry(item, key)
    return item


def _entry(item: Value, key: Value) -> Value:
    type_ = item.type
    if item.kind is Kind.STRING:
        data = encode(item.data)
        at = _position(key, len(data))
        if at == len(data):
            raise CallError("reflect: string index out of range")
        return Value(UINT8, data[at])
    if item.kind is Kind.SLICE and type_ and type_.element:
        items = item.data or ()
        at = _position(key, len(items))
        if at == len(items):
            raise CallError("reflect: slice index out of range")
        return element(type_.element, items[at])
    if item.kind is Kind.MAP and type_ and type_.element:
        found = map_entry(item, _map_key(key, type_.key or STRING))
        return found if found.is_valid else zero(type_.element)
    raise CallError(f"can't index item of type {type_name(item)}")


def _position(key: Value, limit: int) -> int:
    if not key.is_valid:
        raise CallError("cannot index slice/array with nil")
    if key.kind not in (Kind.INT, Kind.UINT):
        raise CallError(f"cannot index slice/array with type {type_name(key)}")
    if not 0 <= key.data <= limit:
        raise CallError(f"index out of range: {key.data}")
    return key.data


def _map_key(key: Value, wanted: GoType) -> Any:
    if not key.is_valid:
        raise CallError(f"value is nil; should be of type {wanted.name}")
    numbers = (Kind.INT, Kind.UINT)
    if key.type is not wanted and not (key.kind in numbers and wanted.kind in numbers):
        raise CallError(f"value has type {type_name(key)}; should be {wanted.name}")
    return key.data


def cut(item: Value, *indexes: Value) -> Value:
    """`slice`: shares the backing, as Go's does."""
    item = unwrap(item)
    if not item.is_valid:
        raise CallError("slice of untyped nil")
    if len(indexes) > 3:
        raise CallError(f"too many slice indexes: {len(indexes)}")
    if item.kind is Kind.STRING:
        if len(indexes) == 3:
            raise CallError("cannot 3-index slice a string")
        data = encode(item.data)
        start, stop = _bounds(indexes, len(data), len(data))
        return Value(item.type, decode(data[start:stop]))
    if item.kind is not Kind.SLICE:
        raise CallError(f"can't slice item of type {type_name(item)}")
    items: Sequence[Any] = item.data or []
    backing, offset = (items.backing, items.start) if isinstance(items, Window) else (items, 0)
    start, stop = _bounds(indexes, len(items), len(backing) - offset)
    if item.data is None:
        return item
    return Value(item.type, Window(backing, offset + start, offset + stop))


def _bounds(indexes: Sequence[Value], size: int, capacity: int) -> tuple[int, int]:
    bounds = [0, size, capacity]
    for at, key in enumerate(indexes):
        bounds[at] = _position(unwrap(key), capacity)
    if bounds[0] > bounds[1]:
        raise CallError(f"invalid slice index: {bounds[0]} > {bounds[1]}")
    if bounds[1] > bounds[2]:
        raise CallError(f"invalid slice index: {bounds[1]} > {bounds[2]}")
    return bounds[0], bounds[1]


def call(name: str, function: Value) -> Value:
    """Templates are never given functions as data, so this only refuses."""
    function = unwrap(function)
    if not function.is_valid:
        raise CallError("call of nil")
    raise CallError(f"non-function {name} of type {type_name(function)}")


# ---- logic


def negate(value: Value) -> Value:
    return FALSE if truth(unwrap(value)) else TRUE


_BASIC = (Kind.BOOL, Kind.INT, Kind.UINT, Kind.FLOAT, Kind.COMPLEX, Kind.STRING)
_NUMBERS = (Kind.INT, Kind.UINT)


def _basic(value: Value) -> Kind:
    return value.kind if value.kind in _BASIC else Kind.INVALID


def equal(first: Value, *others: Value) -> Value:
    first = unwrap(first)
    if not others:
        raise CallError("missing argument for comparison")
    return of(any(_same(first, unwrap(other)) for other in others))


def _same(first: Value, other: Value) -> bool:
    kind, other_kind = _basic(first), _basic(other)
    if kind is not other_kind:
        if kind in _NUMBERS and other_kind in _NUMBERS:
            return first.data == other.data
        if first.is_valid and other.is_valid:
            raise CallError(
                f"incompatible types for comparison: {type_name(first)} and {type_name(other)}"
            )
        return False
    if kind is not Kind.INVALID:
        return first.data == other.data
    return _same_composite(first, other)


def _same_composite(first: Value, other: Value) -> bool:
    if first.kind is not other.kind and first.is_valid and other.is_valid:
        raise CallError(
            f"non-comparable types {format_value(first, 's')}: {type_name(first)}, "
            f"{type_name(other)}: {format_value(other)}"
        )
    nothing = [value.type is None or (value.type.nilable and value.data is None) for value in (first, other)]  # fmt: skip
    if any(nothing):
        return all(nothing)
    if other.type is not None and not other.type.comparable:
        raise CallError(f"non-comparable type {format_value(other, 's')}: {other.type.name}")
    return first.type is other.type and (
        first.data is other.data or (first.kind is Kind.STRUCT and first.data == other.data)
    )


def unequal(first: Value, second: Value) -> Value:
    return negate(equal(first, second))


def _less(first: Value, second: Value) -> bool:
    first, second = unwrap(first), unwrap(second)
    kind, other_kind = _basic(first), _basic(second)
    if Kind.INVALID in (kind, other_kind):
        raise CallError("invalid type for comparison")
    if kind is not other_kind and not (kind in _NUMBERS and other_kind in _NUMBERS):
        raise CallError(
            f"incompatible types for comparison: {type_name(first)} and {type_name(second)}"
        )
    if kind in (Kind.BOOL, Kind.COMPLEX):
        raise CallError("invalid type for comparison")
    if kind is Kind.STRING:
        return encode(first.data) < encode(second.data)
    return first.data < second.data


def less(first: Value, second: Value) -> Value:
    return of(_less(first, second))


def less_or_equal(first: Value, second: Value) -> Value:
    return TRUE if _less(first, second) else equal(first, second)


def greater(first: Value, second: Value) -> Value:
    return negate(less_or_equal(first, second))


def greater_or_equal(first: Value, second: Value) -> Value:
    return negate(less(first, second))


# ---- text

_HTML = str.maketrans(
    {"\0": "\ufffd", '"': "&#34;", "'": "&#39;", "&": "&amp;", "<": "&lt;", ">": "&gt;"}
)
_JS = {
    "\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026", "=": "\\u003D",
}  # fmt: skip


def printable(value: Value) -> Value:
    """What an action prints of a value: a pointer's target, and words for nothing."""
    if value.kind is Kind.POINTER:
        value, _ = indirect(value)
    return value if value.is_valid else Value(STRING, "<no value>")


def _text(arguments: Sequence[Value]) -> str:
    arguments = [unwrap(argument) for argument in arguments]
    if len(arguments) == 1 and arguments[0].type is STRING:
        return arguments[0].data
    return sprint([printable(argument) for argument in arguments])


def html(*arguments: Value) -> Value:
    return Value(STRING, _text(arguments).translate(_HTML))


def _js_character(character: str) -> str:
    if character in _JS:
        return _JS[character]
    if character < " ":
        return f"\\u{ord(character):04X}"
    if character.isascii() or character.isprintable():
        return character
    if "\udc80" <= character <= "\udcff":
        character = "\ufffd"
    return f"\\u{ord(character):04X}"


def js(*arguments: Value) -> Value:
    return Value(STRING, "".join(map(_js_character, _text(arguments))))


def urlquery(*arguments: Value) -> Value:
    return Value(STRING, quote_plus(encode(_text(arguments))))


BUILTINS: dict[str, Function] = {
    "and": Function(lambda *values: values[-1], ("value", "value"), variadic=True),
    "or": Function(lambda *values: values[-1], ("value", "value"), variadic=True),
    "not": Function(negate, ("value",)),
    "len": Function(length, ("value",)),
    "index": Function(index, ("value", "value"), variadic=True),
    "slice": Function(cut, ("value", "value"), variadic=True),
    "call": Function(lambda *_: INVALID, ("value", "value"), variadic=True),
    "eq": Function(equal, ("value", "value"), variadic=True),
    "ne": Function(unequal, ("value", "value")),
    "lt": Function(less, ("value", "value")),
    "le": Function(less_or_equal, ("value", "value")),
    "gt": Function(greater, ("value", "value")),
    "ge": Function(greater_or_equal, ("value", "value")),
    "print": Function(lambda *values: Value(STRING, sprint(values)), ("any",), variadic=True),
    "println": Function(lambda *values: Value(STRING, sprintln(values)), ("any",), variadic=True),
    "printf": Function(
        lambda form, *values: Value(STRING, sprintf(form.data, values)),
        ("string", "any"),
        variadic=True,
    ),
    "html": Function(html, ("any",), variadic=True),
    "js": Function(js, ("any",), variadic=True),
    "urlquery": Function(urlquery, ("any",), variadic=True),
}
