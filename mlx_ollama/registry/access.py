"""How this server reaches a registry."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import Struct

from mlx_ollama.registry.auth import Credentials
from mlx_ollama.registry.client import Repository
from mlx_ollama.registry.http import Http
from mlx_ollama.registry.patience import Patience
from mlx_ollama.store.names import ModelName


class Access(Struct, frozen=True, kw_only=True):
    """`home` holds Ollama's key and docker's credentials; `insecure` is the request's."""

    home: Path
    insecure: bool = False
    credentials: Credentials | None = None
    patience: Patience = Patience()


@asynccontextmanager
async def repository_of(name: ModelName, access: Access) -> AsyncGenerator[Repository, None]:
    """The repository of a name, with connections of its own.

    A name that spells its scheme out means that very address; without `insecure` it still needs TLS.
    """
    http = Http(insecure=access.insecure, allows_private=name.scheme == "http")
    async with http.in_use():
        yield Repository(
            http,
            name,
            home=access.home,
            credentials=access.credentials,
            patience=access.patience,
        )
