"""The model store as the rest of the server sees it."""

import logging
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

from mlx_ollama.errors import CorruptData, InvalidName, InvalidRequest, NotFound
from mlx_ollama.store import lock
from mlx_ollama.store.blobs import Blobs, Digest
from mlx_ollama.store.durable import make_folder, writing
from mlx_ollama.store.inspections import Inspections
from mlx_ollama.store.manifests import Manifest, Manifests, StoredManifest
from mlx_ollama.store.model import Model
from mlx_ollama.store.names import ModelName
from mlx_ollama.store.prune import prune, remove_blobs, unneeded

log = logging.getLogger(__name__)


class Store:
    """`root` is `OLLAMA_MODELS`; `cache` is our own cache folder, for what was learnt about models.

    Nothing is made on disk before something is written. Every method blocks (milliseconds) unless it says more;
    all are safe to call from several threads. `blobs.receive` is the coroutine for uploads.
    """

    def __init__(self, root: Path, cache: Path | None = None, *, noprune: bool = False) -> None:
        self.root = root
        self.noprune = noprune
        self.blobs = Blobs(root / "blobs")
        self.manifests = Manifests(root / "manifests", root / "blobs")
        self.inspections = Inspections(cache / "inspections" if cache else None)
        # Told of blobs that are gone, so that what was derived of them goes too; called in threads.
        self.on_removed: list[Callable[[set[Digest]], None]] = [self.inspections.forget]
        self._models: dict[Path, tuple[StoredManifest, Model]] = {}
        self._leftovers: set[Digest] = set()  # unneeded since a removal had to wait
        self._mutex = threading.Lock()

    def resolve(self, name: str | ModelName) -> Model:
        """The model of a name, in any case. `InvalidName`; `NotFound` (`model 'NAME' not found`, NAME as given
        when it is text); `CorruptData` when its manifest or a blob is damaged or gone."""
        try:
            parsed = ModelName.parse(name) if isinstance(name, str) else name
            model = self._model(self.manifests.read(parsed))
        except NotFound as error:
            raise NotFound(f"model '{name}' not found") from error
        model.check()
        return model

    def _model(self, stored: StoredManifest) -> Model:
        """Kept while its manifest stays, and with it the small layers that it has read."""
        known = self._models.get(stored.path)
        if known is not None and known[0] is stored:
            return known[1]
        model = Model(stored, self.blobs)
        self._models[stored.path] = (stored, model)
        return model

    def list(self) -> list[Model]:
        """Every whole model, newest first. Broken ones are skipped with a warning."""
        models: list[Model] = []
        for stored in self.manifests.all():
            model = self._model(stored)
            try:
                model.check()
                model.config  # noqa: B018 - read it here, where a damaged one can be skipped
            except CorruptData as error:
                self.manifests.warn(stored.name, error)
                continue
            models.append(model)
        return sorted(models, key=lambda model: model.modified_at, reverse=True)

    def copy(self, source: str, destination: str) -> None:
        """Contract 15, its error texts included: `InvalidRequest`, `NotFound`."""
        names = {"source": source, "destination": destination}
        parsed: dict[str, ModelName] = {}
        for role, text in names.items():
            try:
                parsed[role] = ModelName.parse(text)
            except InvalidName as error:
                raise InvalidRequest(f'{role} "{text}" is invalid') from error
        found = self.manifests.existing(parsed["source"])
        if found is None:
            raise NotFound(f'model "{source}" not found')
        if found.folded() == parsed["destination"].folded():
            return
        with self.operation():
            self.publish(parsed["destination"], self.manifests.read_bytes(found))

    def delete(self, target: str) -> set[Digest]:
        """Contract 16, its error texts included. Blobs that nothing else needs go too; returns their digests."""
        if not target.strip():
            raise InvalidRequest("model is required")
        try:
            parsed = ModelName.parse(target)
        except InvalidName as error:
            raise InvalidRequest(f'name "{target}" is invalid') from error
        with self._mutex:
            name = self.manifests.existing(parsed)
            if name is None:
                raise NotFound(f"model '{target}' not found")
            stored = self.manifests.readable(name)
            self.manifests.remove(name)
        return self.discard(stored.manifest.digests() if stored else ())

    def publish(self, name: ModelName, manifest: Manifest | bytes) -> bool:
        """Make a name stand for a manifest whose blobs are all here; bytes are kept as they came.

        Called inside `operation()`. What only the name's old manifest needed is removed (unless OLLAMA_NOPRUNE)
        when the last operation ends; whether there is such a thing.
        """
        with self._mutex:
            previous = self.manifests.existing(name)
            old = self.manifests.readable(previous) if previous else None
            if isinstance(manifest, bytes):
                self.manifests.write(name, manifest)
            else:
                self.manifests.put(name, manifest)
            if old is None or self.noprune:
                return False
            unused = unneeded(self.manifests, old.manifest.digests())
            self._leftovers |= unused
            return bool(unused)

    @contextmanager
    def operation(self) -> Generator[None]:
        """While blobs are written or relied upon that no manifest names yet: nothing is removed meanwhile.

        Entering may block while another process removes blobs. `StoreUnwritable`.
        """
        with writing(self.root):
            make_folder(self.blobs.folder)
        try:
            with lock.shared(self.blobs.folder):
                yield
        finally:
            self.discard(())

    def discard(self, digests: Iterable[Digest]) -> set[Digest]:
        """Remove those blobs (and leftovers) that no manifest names; later, while an operation goes on."""
        with self._mutex:
            self._leftovers |= set(digests)
            if not self._leftovers or not self.blobs.folder.is_dir():
                return set()
            with writing(self.root), lock.exclusive(self.blobs.folder) as is_ours:
                if not is_ours:
                    return set()
                removed = remove_blobs(self.blobs, unneeded(self.manifests, self._leftovers))
                self._leftovers.clear()
        for tell in self.on_removed:
            tell(removed)
        return removed

    def prune(self) -> None:
        """At server start (unless OLLAMA_NOPRUNE): blobs that no manifest names and that are older than an hour.
        Does nothing when a manifest cannot be read, or while another process writes to the store."""
        if self.noprune:
            return
        try:
            with writing(self.root):
                count = prune(self.manifests, self.blobs)
        except Exception as error:  # noqa: BLE001 - a store that cannot be tidied still serves
            log.warning("nothing pruned: %s", error)
            return
        if count:
            log.info("removed %d unused blobs", count)
