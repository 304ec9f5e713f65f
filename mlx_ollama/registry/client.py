"""One repository of an OCI registry: manifests and blobs, whoever hosts it."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from mlx_ollama.errors import NotFound, UpstreamError
from mlx_ollama.registry.auth import DENIED, Authority, Credentials
from mlx_ollama.registry.http import (
    MAX_ERROR_BODY,
    ConnectionFailed,
    Content,
    Http,
    Reply,
    joined,
    origin,
)
from mlx_ollama.registry.patience import Patience, RegistryError
from mlx_ollama.store.blobs import Digest
from mlx_ollama.store.manifests import MANIFEST_TYPE
from mlx_ollama.store.names import ModelName

MAX_MANIFEST = 4 << 20


class Repository:
    """`base` is `https://host/v2/namespace/model`; plain http only with an insecure `http` that found no TLS.

    Invariant: `_authorization` goes to the registry's own origin only.
    """

    def __init__(
        self,
        http: Http,
        name: ModelName,
        *,
        home: Path,
        credentials: Credentials | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.http, self.name = http, name
        self.patience = patience or Patience()
        self._home, self._credentials = home, credentials
        self._scheme = "https"
        self._authorization = ""

    @property
    def base(self) -> str:
        return f"{self._scheme}://{self.name.host}/v2/{self.name.namespace}/{self.name.model}"

    async def choose_scheme(self) -> None:
        """With an insecure client: plain http where TLS does not answer."""
        if not self.http.insecure:
            return
        try:
            async with self.http.send("GET", f"https://{self.name.host}/v2/"):
                pass
        except ConnectionFailed:
            self._scheme = "http"

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        content: Content | None = None,
    ) -> AsyncGenerator[Reply, None]:
        """A request to the registry (or on to where it redirects a read), with one answer to a challenge."""
        is_read = method in ("GET", "HEAD")
        for _ in range(2):
            sent = dict(headers or {})
            if self._authorization and origin(url) == origin(self.base):
                sent["Authorization"] = self._authorization
            sending = (
                self.http.follow(method, url, sent)
                if is_read
                else self.http.send(method, url, sent, content)
            )
            async with sending as reply:
                challenge = reply.headers.get("www-authenticate", "")
                if reply.status != 401 or not challenge or origin(reply.url) != origin(self.base):
                    yield reply
                    return
                await reply.read(MAX_ERROR_BODY)
            await self._authorize(challenge)
        raise UpstreamError(DENIED)

    async def _authorize(self, challenge: str) -> None:
        registry = f"{self._scheme}://{self.name.host}"
        authority = Authority(self.http, registry, self._home, self._credentials)
        self._authorization = await authority.answer(challenge)

    # ---- reading

    async def manifest(self) -> bytes:
        """The manifest's bytes as they came. NotFound, UpstreamError."""
        return await self.patience.insist(self._manifest)

    async def _manifest(self) -> bytes:
        url = f"{self.base}/manifests/{self.name.tag}"
        async with self.request("GET", url, {"Accept": MANIFEST_TYPE}) as reply:
            if reply.status == 404:
                raise NotFound("file does not exist")
            check_status(reply)
            return await reply.read(MAX_MANIFEST)

    def blob_url(self, digest: Digest) -> str:
        return f"{self.base}/blobs/{digest}"

    async def small_blob(self, digest: Digest, limit: int) -> bytes:
        """A blob that is needed in memory, verified."""

        async def get() -> bytes:
            async with self.request("GET", self.blob_url(digest)) as reply:
                check_status(reply)
                return await reply.read(limit)

        content = await self.patience.insist(get)
        if Digest.of(content) != digest:
            raise digest_mismatch(digest, Digest.of(content))
        return content

    async def has_blob(self, digest: Digest) -> bool:
        async def look() -> bool:
            async with self.request("HEAD", self.blob_url(digest)) as reply:
                if reply.status == 404:
                    return False
                check_status(reply)
                return True

        return await self.patience.insist(look)

    # ---- writing

    async def put_manifest(self, content: bytes, media_type: str) -> None:
        await self.put(
            f"{self.base}/manifests/{self.name.tag}", {"Content-Type": media_type}, content
        )

    async def put(self, url: str, headers: Mapping[str, str], content: bytes = b"") -> None:
        """A small PUT that may be repeated."""
        sized = {"Content-Length": str(len(content)), **headers}

        async def send() -> None:
            async with self.request("PUT", url, sized, content) as reply:
                check_status(reply)

        await self.patience.insist(send)

    async def start_upload(self, query: str = "") -> tuple[int, str]:
        """Ask for a place to upload to: the status (201: mounted, nothing to do) and the place."""
        url = f"{self.base}/blobs/uploads/{query}"

        async def ask() -> tuple[int, str]:
            async with self.request("POST", url, {"Content-Length": "0"}, b"") as reply:
                check_status(reply)
                return reply.status, self.upload_place(reply, url)

        return await self.patience.insist(ask)

    def upload_place(self, reply: Reply, url: str) -> str:
        """Where the upload goes on, as the registry says."""
        place = reply.headers.get("docker-upload-location") or reply.headers.get("location") or url
        return joined(url, place)


def check_status(reply: Reply) -> None:
    """UpstreamError for anything but success."""
    if reply.status in (401, 403):
        raise UpstreamError(DENIED)
    if not 200 <= reply.status < 300:
        raise RegistryError(reply.status, retry_after(reply))


def retry_after(reply: Reply) -> float:
    """Seconds that the registry wants to be left alone, at most a minute."""
    text = reply.headers.get("retry-after", "")
    return min(float(text), 60.0) if text.isdecimal() else 0.0


def digest_mismatch(wanted: Digest, got: Digest) -> UpstreamError:
    """In Ollama's words."""
    return UpstreamError(
        f"digest mismatch, file must be downloaded again: want {wanted}, got {got}"
    )
