"""What `inspect` shows."""

from pathlib import Path
from typing import Any

from converters import inventory


def describe(sources: list[Path]) -> dict[str, Any]:
    found = inventory.read(sources)
    return {
        "architecture": found.architecture,
        "file_type": found.file_type,
        "parameters": found.parameter_count,
    }


def table(found: dict[str, Any]) -> str:
    return "\n".join(f"{key:<14} {value}" for key, value in found.items())
