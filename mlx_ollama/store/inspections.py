"""What is known of models' weights: found out once and kept beside the derived data.

Invariant: what is kept is named by digests, so it never grows old; a kept file that cannot be read is made anew.
A cache folder that cannot be written costs only the time of looking again.
"""

import hashlib
import logging
import os
import threading
from collections.abc import Iterable
from pathlib import Path

import msgspec

from mlx_ollama.errors import NOT_JSON
from mlx_ollama.store.blobs import Digest
from mlx_ollama.store.durable import make_folder
from mlx_ollama.store.inspection import VERSION, Inspection, inspect_gguf, read_inventory
from mlx_ollama.store.model import Model
from mlx_ollama.store.tensor_blobs import inspect_tensors

log = logging.getLogger(__name__)

MAX_REMEMBERED = 4096


class Inspections:
    """Finds out and remembers. Every method blocks: a header takes 5 to 200 ms the first time."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._known: dict[str, Inspection] = {}
        self._mutex = threading.Lock()
        self._waiting: list[Model] = []

    def of(self, model: Model) -> Inspection:
        """What the model's weights say; `CorruptData` when they are damaged."""
        key = _key(model.weight_digests())
        known = self._known.get(key) or self._read(key)
        if known is None:
            known = inspect_model(model)
            self._keep(key, known)
        return self._remember(key, known)

    def known(self, model: Model) -> Inspection | None:
        """As `of`, but without looking at weights that were never looked at."""
        key = _key(model.weight_digests())
        known = self._known.get(key) or self._read(key)
        return None if known is None else self._remember(key, known)

    def later(self, models: Iterable[Model]) -> None:
        """Look at them in a thread of its own, one after the other, so that they are known next time."""
        with self._mutex:
            is_idle = not self._waiting
            self._waiting += models
            if is_idle and self._waiting:
                threading.Thread(target=self._work, name="inspections", daemon=True).start()

    def _work(self) -> None:
        while True:
            with self._mutex:
                if not self._waiting:
                    return
                model = self._waiting[0]
            try:
                self.of(model)
            except Exception as error:  # noqa: BLE001 - a damaged model is told when it is asked for
                log.debug("%s not inspected: %s", model, error)
            with self._mutex:
                self._waiting.pop(0)

    def forget(self, digests: Iterable[Digest]) -> None:
        """Drop what is known of models whose first file is one of these."""
        for digest in digests:
            for key in [key for key in self._known if key.startswith(digest.hex)]:
                del self._known[key]
            if self._folder is not None:
                for path in self._folder.glob(f"{digest.hex}*.json"):
                    path.unlink(missing_ok=True)

    def _remember(self, key: str, inspection: Inspection) -> Inspection:
        with self._mutex:
            while len(self._known) >= MAX_REMEMBERED:
                del self._known[next(iter(self._known))]
            self._known[key] = inspection
        return inspection

    def _read(self, key: str) -> Inspection | None:
        if self._folder is None:
            return None
        try:
            content = (self._folder / f"{key}.json").read_bytes()
            kept = msgspec.json.decode(content, type=Inspection)
        except (OSError, *NOT_JSON):
            return None
        return kept if kept.version == VERSION else None

    def _keep(self, key: str, inspection: Inspection) -> None:
        if self._folder is None:
            return
        path = self._folder / f"{key}.json"
        temporary = path.with_suffix(f".{os.urandom(4).hex()}.tmp")
        try:
            make_folder(self._folder)
            temporary.write_bytes(msgspec.json.encode(inspection))
            temporary.replace(path)
        except OSError as error:
            log.debug("inspection not kept: %s", error)


def _key(digests: list[Digest]) -> str:
    """The first file's digest, and a short hash of the rest where there are more."""
    first, rest = digests[0], digests[1:]
    if not rest:
        return first.hex
    return f"{first.hex}-{hashlib.sha256(' '.join(rest).encode()).hexdigest()[:16]}"


def inspect_model(model: Model) -> Inspection:
    """Read the headers of a model's weights and projectors."""
    if model.tensors:
        return inspect_tensors(model)
    return inspect_gguf(
        read_inventory(model.weights), [read_inventory([p]) for p in model.projectors]
    )
