"""The model store as the rest of the server sees it."""

from pathlib import Path

from mlx_ollama.store.blobs import Blobs, Digest
from mlx_ollama.store.manifests import Manifests
from mlx_ollama.store.model import Model
from mlx_ollama.store.names import ModelName


class Store:
    """`root` is `OLLAMA_MODELS`; `cache` is our own cache folder, for what was learnt about models.

    Nothing is made on disk before something is written. Every method blocks (milliseconds) unless it says more;
    all are safe to call from several threads. `blobs.receive` is the coroutine for uploads.
    """

    def __init__(self, root: Path, cache: Path | None = None) -> None:
        self.root = root
        self.blobs = Blobs(root / "blobs")
        self.manifests = Manifests(root / "manifests")

    def resolve(self, name: str | ModelName) -> Model:
        """The model of a name, in any case. `InvalidName`; `NotFound` (`model 'NAME' not found`, NAME as given
        when it is text); `CorruptData` when its manifest or a blob is damaged or gone."""
        raise NotImplementedError

    def list(self) -> list[Model]:
        """Every whole model, newest first. Broken ones are skipped with a warning."""
        raise NotImplementedError

    def copy(self, source: str, destination: str) -> None:
        """Contract 15, its error texts included: `InvalidRequest`, `NotFound`."""
        raise NotImplementedError

    def delete(self, target: str) -> set[Digest]:
        """Contract 16, its error texts included. Blobs that nothing else needs go too; returns their digests."""
        raise NotImplementedError

    def prune(self) -> None:
        """At server start (unless OLLAMA_NOPRUNE): blobs that no manifest names and that are older than an hour.
        Does nothing when a manifest cannot be read, or while another process writes to the store."""
        raise NotImplementedError
