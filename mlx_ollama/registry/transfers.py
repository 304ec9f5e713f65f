"""The pulls and pushes of one server. What they need is imported when the first one comes."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_ollama.api.models import Progress
from mlx_ollama.store.names import ModelName
from mlx_ollama.store.store import Store

if TYPE_CHECKING:
    from mlx_ollama.registry.access import Access
    from mlx_ollama.registry.download import Downloads
    from mlx_ollama.registry.huggingface import Importer

Lines = AsyncGenerator[Progress, None]


class Transfers:
    """Concurrent pulls share what they download. `importer` makes models of repositories without GGUF files."""

    def __init__(
        self, store: Store, home: Path | None = None, importer: "Importer | None" = None
    ) -> None:
        self._store, self._importer = store, importer
        self._home = home
        self._downloads: Downloads | None = None

    def downloads(self) -> "Downloads":
        if self._downloads is None:
            from mlx_ollama.registry.download import Downloads

            self._downloads = Downloads(self._store.blobs)
        return self._downloads

    def _access(self, insecure: bool, user: tuple[str, str]) -> "Access":
        from mlx_ollama.registry.access import Access
        from mlx_ollama.registry.auth import Credentials

        credentials = Credentials(*user) if user[0] else None
        home = self._home or Path.home()
        return Access(home=home, insecure=insecure, credentials=credentials)

    async def pull(
        self, name: ModelName, *, insecure: bool = False, user: tuple[str, str] = ("", "")
    ) -> Lines:
        """Progress lines in Ollama's words, the last is `success`. UpstreamError, StoreUnwritable."""
        from mlx_ollama.registry.huggingface import HOSTS, pull_files
        from mlx_ollama.registry.pull import pull

        access = self._access(insecure, user)
        if name.host.lower() in HOSTS:
            done = False
            files = pull_files(self._store.blobs, self.downloads(), name, access, self._importer)
            async with aclosing(files) as lines:
                async for line in lines:
                    done = True
                    yield line
            if done:
                return
        async with aclosing(pull(self._store, self.downloads(), name, access)) as lines:
            async for line in lines:
                yield line

    async def push(
        self, target: str, *, insecure: bool = False, user: tuple[str, str] = ("", "")
    ) -> Lines:
        """As `pull`; `target` is the name as it was sent. NotFound, UpstreamError."""
        from mlx_ollama.registry.push import push

        access = self._access(insecure, user)
        async with aclosing(push(self._store, target, access)) as lines:
            async for line in lines:
                yield line
