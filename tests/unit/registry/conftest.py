"""A store, a model of random bytes, and pulls and pushes between them and registries."""

import json
import random
from collections.abc import Generator, Sequence
from contextlib import aclosing
from pathlib import Path

import pytest

from mlx_ollama.api.models import Progress
from mlx_ollama.registry import http
from mlx_ollama.registry.access import Access
from mlx_ollama.registry.download import Downloads, Pace
from mlx_ollama.registry.patience import Patience
from mlx_ollama.registry.pull import pull
from mlx_ollama.registry.push import push
from mlx_ollama.store.blobs import Digest
from mlx_ollama.store.manifests import CONFIG_TYPE, LAYER_PREFIX, Layer, Manifest
from mlx_ollama.store.names import ModelName
from mlx_ollama.store.store import Store
from tests.fakes.registry import no_proxies, real_registry

IMPATIENT = Patience(first_pause_seconds=0.001)
QUICK = Pace(min_part_bytes=4096, max_part_bytes=4096, streams=4, patience=IMPATIENT)
WEIGHTS = 100_000


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _quiet_network(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    monkeypatch.setattr(http, "SILENCE_SECONDS", 1.0)
    with no_proxies():
        yield


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    with real_registry(tmp_path_factory.mktemp("registry")) as host:
        yield host


class Side:
    """One machine: its store, and its way to registries."""

    def __init__(self, folder: Path, pace: Pace = QUICK) -> None:
        self.folder = folder
        self.store = Store(folder / "models")
        self.downloads = Downloads(self.store.blobs, pace)
        self.access = Access(home=folder, insecure=True, patience=IMPATIENT)

    async def pull(self, name: str) -> list[Progress]:
        steps = pull(self.store, self.downloads, ModelName.parse(name), self.access)
        async with aclosing(steps) as lines:
            return [line async for line in lines]

    async def push(self, name: str) -> list[Progress]:
        async with aclosing(push(self.store, name, self.access)) as lines:
            return [line async for line in lines]

    def make(self, name: str, *, seed: int = 1, size: int = WEIGHTS) -> Manifest:
        """A model of random bytes in the store, under `name`."""
        weights = random.Random(seed).randbytes(size)
        layers = [self._layer("model", weights), self._layer("template", b"{{ .Prompt }}")]
        return self.publish(name, layers)

    def make_tensors(self, name: str, count: int = 12) -> Manifest:
        """A model of many small layers, as those made of Safetensors are."""
        layers = [
            self._layer("tensor", random.Random(index).randbytes(900 + index), name=f"t{index}")
            for index in range(count)
        ]
        return self.publish(name, layers)

    def publish(self, name: str, layers: list[Layer], **config: str) -> Manifest:
        content = json.dumps({"model_format": "gguf", "model_family": "llama"} | config).encode()
        digest, _ = self.store.blobs.put(content)
        top = Layer(media_type=CONFIG_TYPE, digest=digest, size=len(content))
        manifest = Manifest(config=top, layers=layers)
        with self.store.operation():
            self.store.publish(ModelName.parse(name), manifest)
        return manifest

    def _layer(self, kind: str, content: bytes, name: str = "") -> Layer:
        digest, _ = self.store.blobs.put(content)
        return Layer(media_type=LAYER_PREFIX + kind, digest=digest, size=len(content), name=name)

    def manifest_bytes(self, name: str) -> bytes:
        return self.store.manifests.read_bytes(ModelName.parse(name))

    def files(self) -> list[str]:
        folder = self.store.blobs.folder
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

    def is_whole(self, name: str) -> bool:
        """Whether the model is here and each of its blobs hashes right."""
        manifest = self.store.manifests.read(ModelName.parse(name)).manifest
        return all(self.store.blobs.hash(Digest(digest)) == digest for digest in manifest.digests())


@pytest.fixture
def here(tmp_path: Path) -> Side:
    return Side(tmp_path / "here")


@pytest.fixture
def there(tmp_path: Path) -> Side:
    return Side(tmp_path / "there")


def statuses(lines: Sequence[Progress]) -> list[str]:
    """The distinct statuses in the order of their first appearance."""
    return list(dict.fromkeys(line.status for line in lines))
