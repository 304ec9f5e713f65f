"""A GGUF source as an inventory: one file, or all parts of a split one."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from converters.errors import InvalidSource, MissingPart
from converters.gguf.cursor import invalid
from converters.gguf.reader import Header, read_header
from converters.gguf.types import FILE_TYPES
from converters.inventory import Inventory, Tensor

MAX_PARTS = 1024


def read(files: Sequence[Path]) -> Inventory:
    """Raises InvalidSource and MissingPart."""
    if len(files) > MAX_PARTS:
        raise InvalidSource(f"{len(files)} files are too many parts")
    headers = [read_header(path) for path in files]
    parts = _in_order(headers)
    metadata = parts[0].metadata
    tensors = _gather(parts)
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        invalid('key "general.architecture" is missing')
    order = [files[headers.index(part)] for part in parts]
    return Inventory(
        kind="gguf",
        architecture=architecture,
        metadata=metadata,
        tensors=tensors,
        file_type=_file_type(metadata, tensors),
        files=tuple(order),
    )


def _in_order(headers: list[Header]) -> list[Header]:
    count = headers[0].metadata.get("split.count", 0) or 1
    if count != len(headers):
        raise MissingPart(f"the model has {count} parts, and {len(headers)} are here")
    if count == 1:
        return headers
    numbers = {_part_number(header): header for header in headers}
    if sorted(numbers) != list(range(count)):
        raise MissingPart("the parts of the split model are not all different parts of one model")
    return [numbers[i] for i in range(count)]


def _part_number(header: Header) -> int:
    number = header.metadata.get("split.no")
    return number if type(number) is int else -1


def _gather(parts: list[Header]) -> tuple[Tensor, ...]:
    tensors = [tensor for part in parts for tensor in part.tensors]
    total = parts[0].metadata.get("split.tensors.count")
    if type(total) is int and total != len(tensors):
        raise MissingPart(f"the split model has {total} tensors, and its parts hold {len(tensors)}")
    names = Counter(tensor.name for tensor in tensors)
    repeated = next((name for name, times in names.items() if times > 1), None)
    if repeated is not None:
        invalid(f'duplicate tensor "{repeated}"')
    return tuple(tensors)


def _file_type(metadata: dict[str, Any], tensors: tuple[Tensor, ...]) -> str:
    number = metadata.get("general.file_type")
    if type(number) is int and number in FILE_TYPES:
        return FILE_TYPES[number]
    bytes_of: Counter[str] = Counter()
    for tensor in tensors:
        bytes_of[tensor.type] += tensor.size
    return bytes_of.most_common(1)[0][0] if bytes_of else "unknown"
