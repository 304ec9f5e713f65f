"""One Safetensors header, checked: sizes, shapes and offsets agree, and nothing overlaps or is left over.

No numpy: the server process reads headers too. Limits of the format's own library, and tighter ones on counts.
"""

import json
from math import prod
from pathlib import Path
from typing import Any, NoReturn

from converters.errors import InvalidSource
from converters.inventory import Tensor

MAX_HEADER_BYTES = 100 << 20
MAX_TENSORS = 65_536
MAX_DIMENSIONS = 8
MAX_NAME = 1024
ITEM_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1,
    "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip


def invalid(what: str) -> NoReturn:
    raise InvalidSource(f"invalid safetensors: {what}")


def read_tensors(path: Path) -> tuple[list[Tensor], dict[str, str]]:
    """The tensors of a file in the order of their data, and its metadata. Raises InvalidSource."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            invalid("the header extends past the end of the file")
        if length > MAX_HEADER_BYTES:
            invalid("the header is too large")
        header = _parse(file.read(length))
    metadata = header.pop("__metadata__", {})
    if len(header) > MAX_TENSORS:
        invalid("too many tensors")
    tensors = [_tensor(name, entry, path, 8 + length) for name, entry in header.items()]
    tensors.sort(key=lambda tensor: (tensor.offset, tensor.size))  # empty ones first
    _check_layout(tensors, 8 + length, size)
    return tensors, metadata if isinstance(metadata, dict) else {}


def _parse(raw: bytes) -> dict[str, Any]:
    try:
        header = json.loads(raw, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        invalid("the header is not JSON")
    if not isinstance(header, dict):
        invalid("the header is not an object")
    return header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        invalid("a name occurs twice")
    return found


def _tensor(name: str, entry: Any, path: Path, start: int) -> Tensor:
    if not isinstance(entry, dict) or len(name) > MAX_NAME:
        invalid("bad tensor entry")
    dtype = entry.get("dtype")
    shape, offsets = _naturals(entry.get("shape")), _naturals(entry.get("data_offsets"))
    if dtype not in ITEM_BYTES:
        invalid(f'tensor "{name}" has an unknown type')
    if shape is None or len(shape) > MAX_DIMENSIONS:
        invalid(f'tensor "{name}" has a bad shape')
    if offsets is None or len(offsets) != 2 or offsets[1] < offsets[0]:
        invalid(f'tensor "{name}" has bad offsets')
    size = prod(shape) * ITEM_BYTES[dtype]
    if offsets[1] - offsets[0] != size:
        invalid(f'tensor "{name}" has a size that is not its shape\'s')
    return Tensor(name, dtype, tuple(shape), size, path, start + offsets[0])


def _naturals(value: Any) -> list[int] | None:
    if isinstance(value, list) and all(type(n) is int and 0 <= n < 1 << 48 for n in value):
        return value
    return None


def _check_layout(tensors: list[Tensor], start: int, end: int) -> None:
    for tensor in tensors:
        if tensor.offset != start:
            invalid(f'tensor "{tensor.name}" overlaps another or leaves a hole')
        start += tensor.size
    if start != end:
        invalid("the data is not as long as its tensors")
