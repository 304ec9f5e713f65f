"""What Go's reflect knows: values with their types.

`Value(type, data)`: data is what the type's kind says below. `INVALID` is reflect's zero Value (untyped nil).
BOOL, INT, FLOAT, COMPLEX, STRING: the Python object (strings as `go_strconv`). SLICE: a sequence or None (nil).
MAP: a dict or None. STRUCT: a dict by field name. POINTER: a Value or None. INTERFACE: a Value or None.
The elements of containers are data of the element type; where that is `any`, plain Python or a Value.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any


class Kind(Enum):
    INVALID = auto()
    BOOL = auto()
    INT = auto()
    UINT = auto()
    FLOAT = auto()
    COMPLEX = auto()
    STRING = auto()
    SLICE = auto()
    MAP = auto()
    STRUCT = auto()
    POINTER = auto()
    INTERFACE = auto()


@dataclass(eq=False)
class GoType:
    """`name` is what Go prints for it. `show` is its String method, `json` its own encoding to go_json's terms."""

    name: str
    kind: Kind
    element: "GoType | None" = None
    key: "GoType | None" = None
    fields: dict[str, "GoType"] = field(default_factory=dict)
    show: Callable[[Any], str] | None = None
    json: Callable[[Any], Any] | None = None
    methods: dict[str, Callable[[Any], "Value"]] = field(default_factory=dict)

    @property
    def comparable(self) -> bool:
        if self.kind is Kind.STRUCT:
            return all(member.comparable for member in self.fields.values())
        return self.kind not in (Kind.SLICE, Kind.MAP)

    @property
    def nilable(self) -> bool:
        return self.kind in (Kind.SLICE, Kind.MAP, Kind.POINTER, Kind.INTERFACE)


class Value:
    """Immutable, but for what its data holds."""

    __slots__ = ("data", "type")

    def __init__(self, type_: GoType | None, data: Any) -> None:
        self.type = type_
        self.data: Any = data

    @property
    def kind(self) -> Kind:
        return Kind.INVALID if self.type is None else self.type.kind

    @property
    def is_valid(self) -> bool:
        return self.type is not None


BOOL = GoType("bool", Kind.BOOL)
INT = GoType("int", Kind.INT)
UINT8 = GoType("uint8", Kind.UINT)
FLOAT64 = GoType("float64", Kind.FLOAT)
COMPLEX128 = GoType("complex128", Kind.COMPLEX)
STRING = GoType("string", Kind.STRING)
ANY = GoType("interface {}", Kind.INTERFACE)
BYTES = GoType("[]uint8", Kind.SLICE, element=UINT8)
ANYS = GoType("[]interface {}", Kind.SLICE, element=ANY)
STRINGS = GoType("[]string", Kind.SLICE, element=STRING)
INTS = GoType("[]int", Kind.SLICE, element=INT)
ANY_BY_STRING = GoType("map[string]interface {}", Kind.MAP, element=ANY, key=STRING)

INVALID = Value(None, None)
NIL = Value(ANY, None)  # an interface that holds nothing, as a missing map key gives
TRUE, FALSE = Value(BOOL, True), Value(BOOL, False)


class Window(Sequence[Any]):
    """A slice of a slice: it shares its backing, and can be cut again up to the backing's end."""

    def __init__(self, backing: Sequence[Any], start: int, stop: int) -> None:
        self.backing, self.start, self.stop = backing, start, stop

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, index: Any) -> Any:
        return self.backing[self.start + index]

    def __iter__(self) -> Iterator[Any]:
        return (self.backing[index] for index in range(self.start, self.stop))


def of(data: Any) -> Value:
    """The dynamic value of plain Python data (`reflect.ValueOf`)."""
    if isinstance(data, Value):
        return data
    if data is None:
        return INVALID
    if isinstance(data, bool):
        return TRUE if data else FALSE
    for kind, type_ in _TYPES:
        if isinstance(data, kind):
            return Value(type_, data)
    raise TypeError(f"no Go type for {type(data).__name__}")


_TYPES: tuple[tuple[type, GoType], ...] = (
    (str, STRING),
    (int, INT),
    (float, FLOAT64),
    (dict, ANY_BY_STRING),
    (bytes, BYTES),
    (Sequence, ANYS),
    (complex, COMPLEX128),
)


def element(type_: GoType, data: Any) -> Value:
    """An element of a container whose element type is `type_`; of `any` it is an interface."""
    if type_ is not ANY:
        return Value(type_, data)
    inner = of(data)
    return Value(ANY, inner) if inner.type is not None else NIL


def zero(type_: GoType) -> Value:
    """`reflect.Zero`."""
    blanks: dict[Kind, Any] = {
        Kind.BOOL: False,
        Kind.INT: 0,
        Kind.UINT: 0,
        Kind.FLOAT: 0.0,
        Kind.COMPLEX: 0j,
        Kind.STRING: "",
    }
    if type_.kind is Kind.STRUCT:
        return Value(type_, {name: zero(kind).data for name, kind in type_.fields.items()})
    return NIL if type_ is ANY else Value(type_, blanks.get(type_.kind))


def unwrap(value: Value) -> Value:
    """What an interface holds; anything else as it is."""
    if value.type is ANY:
        return INVALID if value.data is None else value.data
    return value


def indirect(value: Value) -> tuple[Value, bool]:
    """Through pointers and interfaces; True when one of them was nil (then it is the result)."""
    while value.kind in (Kind.POINTER, Kind.INTERFACE):
        if value.data is None:
            return value, True
        value = value.data
    return value, False


def truth(value: Value) -> bool:
    """Go's truthiness: empty, zero and nil are false, a struct is true."""
    match value.kind:
        case Kind.INVALID:
            return False
        case Kind.STRUCT:
            return True
        case Kind.POINTER | Kind.INTERFACE:
            return value.data is not None
        case Kind.STRING | Kind.SLICE | Kind.MAP:
            return value.data is not None and len(value.data) > 0
        case _:
            return bool(value.data)


def map_entry(value: Value, key: Any) -> Value:
    """The element at a key of a map, `INVALID` where it has none."""
    if value.data is None or key not in value.data or value.type is None:
        return INVALID
    return element(value.type.element or ANY, value.data[key])


def sorted_entries(value: Value) -> list[tuple[Value, Value]]:
    """A map's entries in the order Go prints and ranges them: strings by bytes, numbers by size."""
    type_ = value.type
    if value.data is None or type_ is None:
        return []
    key_type, element_type = type_.key or STRING, type_.element or ANY
    keys = sorted(value.data, key=_sort_key if key_type.kind is Kind.STRING else None)
    return [(Value(key_type, key), element(element_type, value.data[key])) for key in keys]


def _sort_key(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")


def elements(value: Value) -> Iterator[Value]:
    """The elements of a slice, in order."""
    type_ = value.type.element if value.type else None
    for data in value.data or ():
        yield element(type_ or ANY, data)
