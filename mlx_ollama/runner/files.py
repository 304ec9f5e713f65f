"""The small files beside a model's weights: configuration, tokenizer, chat template.

They come from an MLX directory, from blobs under their names (Ollama's MLX layout), or out of a GGUF's metadata.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from mlx_ollama.errors import NOT_JSON, LoadFailed

# Larger ones are none of ours; the largest tokenizer.json in use has 35 MB.
MAX_BYTES = {"tokenizer.json": 256 << 20}
MAX_OTHER_BYTES = 16 << 20


class ModelFiles:
    """Reads by file name, from a folder, from blobs by name, or from memory; an absent file reads as None."""

    def __init__(self, files: Path | Mapping[str, Path] | Mapping[str, bytes]) -> None:
        self._files = files

    def read(self, name: str) -> bytes | None:
        """Raises LoadFailed for one that is too large or cannot be read."""
        if isinstance(self._files, Path):
            return _read(self._files / name, name)
        found = self._files.get(name)
        return _read(found, name) if isinstance(found, Path) else found

    def read_object(self, name: str) -> dict[str, Any]:
        """A JSON object; an absent file is an empty one."""
        content = self.read(name)
        if content is None:
            return {}
        try:
            found = msgspec.json.decode(content)
        except NOT_JSON as error:
            raise LoadFailed(f"{name} is not JSON") from error
        if not isinstance(found, dict):
            raise LoadFailed(f"{name} is not a JSON object")
        return found

    def text(self, name: str) -> str:
        """A text file; an absent one is empty."""
        content = self.read(name)
        return "" if content is None else content.decode("utf-8", "replace")


def _read(path: Path, name: str) -> bytes | None:
    limit = MAX_BYTES.get(name, MAX_OTHER_BYTES)
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LoadFailed(f"{name} cannot be read") from error
    if len(content) > limit:
        raise LoadFailed(f"{name} is larger than {limit} bytes")
    return content
