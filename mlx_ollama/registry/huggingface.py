"""Model repositories of Hugging Face that are no GGUF: their files, by the hub's own interface.

GGUF ones answer as a registry does; this is for MLX and Safetensors ones.
"""

import asyncio
import os
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from hashlib import sha1
from pathlib import Path
from urllib.parse import quote

import msgspec
from msgspec import Struct

from mlx_ollama.api.models import Progress
from mlx_ollama.errors import NOT_JSON, InvalidDigest, InvalidRequest, NotFound, UpstreamError
from mlx_ollama.registry.access import Access
from mlx_ollama.registry.auth import DENIED
from mlx_ollama.registry.client import check_status
from mlx_ollama.registry.download import Downloads
from mlx_ollama.registry.http import Http, Reply, origin
from mlx_ollama.registry.patience import Patience
from mlx_ollama.store.blobs import Blobs, Digest
from mlx_ollama.store.names import ModelName

HOSTS = ("hf.co", "huggingface.co")
MAX_LISTING = 8 << 20
MAX_SMALL_FILE = 64 << 20
MAX_FILES = 4000
MAX_PAGES = 20
DEFAULT_QUANTIZATION = "Q4_K_M"
_GGUF_PART = re.compile(r"-\d{5}-of-\d{5}\.gguf$")
_NEXT = re.compile(r'<([^>]+)>;\s*rel="next"')
# What makes a model, and nothing that is code or a pickle.
_WANTED = re.compile(
    r"(?!consolidated|adapter_)[\w.-]+\.safetensors"
    r"|[\w.-]+\.json|[\w.-]+\.jinja|tokenizer\.model|merges\.txt|vocab\.txt|1_Pooling/config\.json"
)


class Large(Struct):
    """How the hub describes a file that is not in git itself."""

    oid: str
    size: int


class Entry(Struct):
    """A line of the hub's listing. `oid` is git's SHA-1 of the file, `lfs` is there for large ones."""

    type: str
    path: str
    size: int = 0
    oid: str = ""
    lfs: Large | None = None


class Files(Struct):
    """What came: file name to digest; all of them are in the store."""

    digests: dict[str, Digest]


# Makes a model of files in the store, as create does; its lines, `success` included.
Importer = Callable[[ModelName, dict[str, Digest]], AsyncGenerator[Progress, None]]


class Hub:
    """One repository at one revision. `endpoint` is HF_ENDPOINT or the hub."""

    def __init__(
        self, http: Http, name: ModelName, *, home: Path, patience: Patience | None = None
    ) -> None:
        self.http = http
        self._patience = patience or Patience()
        self._endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
        self._repository = f"{name.namespace}/{name.model}"
        self._tag, self._revision = name.tag, "main"
        self._quantization = DEFAULT_QUANTIZATION if name.tag == "latest" else name.tag
        self._token = token(home)

    def request(
        self, method: str, url: str, headers: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[Reply]:
        """With the user's token, which stays with the hub: not where it redirects, now or for later parts."""
        sent = dict(headers or {})
        if self._token and origin(url) == origin(self._endpoint):
            sent["Authorization"] = f"Bearer {self._token}"
        return self.http.follow(method, url, sent)

    async def files(self) -> list[Entry]:
        """The files that make a model; none when that is one GGUF file, which a registry's pull is for.

        NotFound, UpstreamError.
        """
        entries = await self._listing()
        if any(entry.path.endswith(".gguf") for entry in entries):
            return split_gguf(entries, self._quantization)
        if self._tag != "latest":  # no quantisation can be meant, so a revision is
            self._revision = quote(self._tag, safe="")
            entries = await self._listing()
        wanted = [one for one in entries if one.type == "file" and _WANTED.fullmatch(one.path)]
        if not any(entry.path.endswith(".safetensors") for entry in wanted):
            raise NotFound("the repository has neither GGUF nor Safetensors files")
        if len(wanted) > MAX_FILES:
            raise UpstreamError(f"the repository has more than {MAX_FILES} files")
        return wanted

    async def _listing(self) -> list[Entry]:
        url = f"{self._endpoint}/api/models/{self._repository}/tree/{self._revision}?recursive=true"
        entries: list[Entry] = []
        for _ in range(MAX_PAGES):
            body, url = await self._read(url, MAX_LISTING)
            try:
                entries += msgspec.json.decode(body, type=list[Entry])
            except NOT_JSON as error:
                raise UpstreamError("the hub's list of files makes no sense") from error
            if origin(url) != origin(self._endpoint):
                break
        return entries

    async def _read(self, url: str, limit: int) -> tuple[bytes, str]:
        """A body, and the address of the next page if it has one."""

        async def get() -> tuple[bytes, str]:
            async with self.request("GET", url) as reply:
                if reply.status == 404:
                    raise NotFound("file does not exist")
                if reply.status in (401, 403):
                    raise UpstreamError(f"{DENIED} (a token of the hub may be needed: HF_TOKEN)")
                check_status(reply)
                following = _NEXT.search(reply.headers.get("link", ""))
                return await reply.read(limit), following[1] if following else ""

        return await self._patience.insist(get)

    def url(self, path: str) -> str:
        return f"{self._endpoint}/{self._repository}/resolve/{self._revision}/{quote(path)}"

    async def small(self, entry: Entry) -> bytes:
        """A file that is in git itself, checked against git's own hash."""
        content, _ = await self._read(self.url(entry.path), MAX_SMALL_FILE)
        found = sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        if entry.oid and found != entry.oid:
            raise UpstreamError(f"{entry.path} is not what the hub says it is")
        return content


@asynccontextmanager
async def hub_of(name: ModelName, access: Access) -> AsyncGenerator[Hub, None]:
    """The hub's repository of a name, with connections of its own. An endpoint of the user's may be anywhere."""
    is_own = "HF_ENDPOINT" in os.environ
    http = Http(insecure=access.insecure, allows_private=is_own)
    async with http.in_use():
        yield Hub(http, name, home=access.home, patience=access.patience)


async def pull_files(
    blobs: Blobs, downloads: Downloads, name: ModelName, access: Access, importer: Importer | None
) -> AsyncGenerator[Progress, None]:
    """Fetch a repository's files and make a model of them; no line at all when it has GGUF files, or shows none."""
    async with hub_of(name, access) as hub:
        try:
            entries = await hub.files()
        except (NotFound, UpstreamError):
            return  # the registry's side of the hub has the better words
        if not entries:
            return
        yield Progress(status="pulling manifest")
        if importer is None:
            raise InvalidRequest("importing safetensors is not supported yet")
        async with aclosing(fetch(hub, blobs, downloads, entries)) as steps:
            async for step in steps:
                if isinstance(step, Progress):
                    yield step
                    continue
                async with aclosing(importer(name, step.digests)) as lines:
                    async for line in lines:
                        yield line


def split_gguf(entries: list[Entry], quantization: str) -> list[Entry]:
    """All parts of the GGUF model of that quantisation, if it comes in parts; registries do not serve those."""
    wanted = quantization.lower()
    parts = [
        entry
        for entry in entries
        if _GGUF_PART.search(entry.path) and wanted in entry.path.lower() and entry.lfs
    ]
    counts = {_GGUF_PART.split(entry.path)[0] for entry in parts}
    return parts if len(counts) == 1 else []


def token(home: Path) -> str:
    """The user's token from where the hub's own programs keep it; "" for none."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if value := os.environ.get(name, "").strip():
            return value
    folder = Path(os.environ.get("HF_HOME") or home / ".cache" / "huggingface")
    try:
        return (folder / "token").read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


async def fetch(
    hub: Hub, blobs: Blobs, downloads: Downloads, entries: list[Entry]
) -> AsyncGenerator[Progress | Files, None]:
    """Progress for each file, and last all of them in the store. UpstreamError, StoreUnwritable."""
    digests: dict[str, Digest] = {}
    for entry in sorted(entries, key=lambda entry: entry.size):
        if entry.lfs is None:
            content = await hub.small(entry)
            digests[entry.path], _ = await asyncio.to_thread(blobs.put, content)
            continue
        digest = _digest(entry.lfs.oid)
        digests[entry.path] = digest
        async with aclosing(_large(hub, blobs, downloads, entry, digest)) as lines:
            async for line in lines:
                yield line
    yield Files(digests)


def _digest(oid: str) -> Digest:
    try:
        return Digest(f"sha256:{oid}")
    except InvalidDigest as error:
        raise UpstreamError("the hub's list of files makes no sense") from error


async def _large(
    hub: Hub, blobs: Blobs, downloads: Downloads, entry: Entry, digest: Digest
) -> AsyncGenerator[Progress, None]:
    size = entry.lfs.size if entry.lfs else entry.size
    status = f"pulling {digest.hex[:12]}"
    if await asyncio.to_thread(blobs.has, digest):
        yield Progress(status=status, digest=str(digest), total=size, completed=size)
        return
    async with aclosing(downloads.get(digest, size, hub, hub.url(entry.path))) as counts:
        async for count in counts:
            yield Progress(status=status, digest=str(digest), total=size, completed=count)
