"""The small files beside a model's weights: configuration, tokenizer, chat template.

They come from an MLX directory, or from blobs under their names (Ollama's MLX layout).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from mlx_ollama.errors import LoadFailed
from mlx_ollama.ipc.messages import Load

# Larger ones are none of ours; the largest tokenizer.json in use has 35 MB.
MAX_BYTES = {"tokenizer.json": 256 << 20}
MAX_OTHER_BYTES = 16 << 20


class ModelFiles:
    """Reads by file name; a file that is absent reads as None."""

    def __init__(self, paths: Mapping[str, Path] | Path) -> None:
        self._paths = paths

    @classmethod
    def of(cls, load: Load) -> "ModelFiles":
        if load.directory:
            return cls(Path(load.directory))
        return cls({name: Path(path) for name, path in load.files.items()})

    def path(self, name: str) -> Path | None:
        found = self._paths / name if isinstance(self._paths, Path) else self._paths.get(name)
        return found if found is not None and found.is_file() else None

    def read(self, name: str) -> bytes | None:
        """Raises LoadFailed for one that is too large or cannot be read."""
        path = self.path(name)
        if path is None:
            return None
        limit = MAX_BYTES.get(name, MAX_OTHER_BYTES)
        try:
            with path.open("rb") as file:
                content = file.read(limit + 1)
        except OSError as error:
            raise LoadFailed(f"{name} cannot be read") from error
        if len(content) > limit:
            raise LoadFailed(f"{name} is larger than {limit} bytes")
        return content

    def read_object(self, name: str) -> dict[str, Any]:
        """A JSON object; an absent file is an empty one."""
        content = self.read(name)
        if content is None:
            return {}
        try:
            found = msgspec.json.decode(content)
        except (msgspec.DecodeError, RecursionError) as error:
            raise LoadFailed(f"{name} is not JSON") from error
        if not isinstance(found, dict):
            raise LoadFailed(f"{name} is not a JSON object")
        return found

    def text(self, name: str) -> str:
        """A text file; an absent one is empty."""
        content = self.read(name)
        return "" if content is None else content.decode("utf-8", "replace")
