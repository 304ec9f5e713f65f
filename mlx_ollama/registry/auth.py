"""A registry's challenge to an Authorization header: Ollama's signed tokens, Bearer, Basic.

A token is asked for at the registry's own origin only, and what is signed goes nowhere else (S-62).
"""

import asyncio
import base64
import binascii
import os
import re
import time
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote_plus, urlsplit

import msgspec
from msgspec import Struct, field

from mlx_ollama.errors import NOT_JSON, UpstreamError
from mlx_ollama.registry.http import Http, origin
from mlx_ollama.registry.key import load_identity

MAX_TOKEN_BODY = 64 << 10
MAX_CHALLENGE = 8 << 10
DENIED = "unauthorized: access denied"
_PAIR = re.compile(r'([A-Za-z_]+)=(?:"([^"]*)"|([^\s,"]+))')


class Credentials(Struct, frozen=True):
    """A user of a registry that asks for one."""

    username: str
    password: str

    @property
    def basic(self) -> str:
        pair = f"{self.username}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"


class Challenge(Struct, frozen=True):
    """WWW-Authenticate. `scheme` is lower case."""

    scheme: str
    realm: str = ""
    service: str = ""
    scope: str = ""


class _Token(Struct):
    token: str = ""
    access_token: str = ""


class _DockerEntry(Struct):
    auth: str = ""


class _DockerConfig(Struct):
    auths: dict[str, _DockerEntry] = field(default_factory=dict)


def parse_challenge(header: str) -> Challenge:
    """UpstreamError for one that makes no sense."""
    scheme, _, rest = header[:MAX_CHALLENGE].strip().partition(" ")
    values = {match[1].lower(): match[2] or match[3] or "" for match in _PAIR.finditer(rest)}
    challenge = Challenge(
        scheme.lower(), values.get("realm", ""), values.get("service", ""), values.get("scope", "")
    )
    if challenge.scheme not in ("bearer", "basic"):
        raise UpstreamError(DENIED)
    return challenge


class Authority:
    """Answers the challenges of one registry. `home` is where Ollama's key and docker's config are."""

    def __init__(
        self, http: Http, registry: str, home: Path, credentials: Credentials | None = None
    ) -> None:
        self._http, self._registry, self._home = http, registry, home
        self._credentials = credentials

    async def answer(self, header: str) -> str:
        """The Authorization header for a challenge. UpstreamError when there is none."""
        challenge = parse_challenge(header)
        credentials = self._credentials or await asyncio.to_thread(
            docker_credentials, self._home, self._registry
        )
        if challenge.scheme == "basic":
            if credentials is None:
                raise UpstreamError(DENIED)
            return credentials.basic
        self._check_realm(challenge.realm)
        if credentials is not None:
            return await self._token(challenge, credentials.basic) or _denied()
        return await self._signed(challenge) or await self._token(challenge, "") or _denied()

    def _check_realm(self, realm: str) -> None:
        if origin(realm) != origin(self._registry):
            theirs, ours = origin(realm)[1], urlsplit(self._registry).netloc
            raise UpstreamError(
                f'realm host "{theirs[:100]}" does not match original host "{ours}"'
            )

    async def _signed(self, challenge: Challenge) -> str:
        """As Ollama: the query, signed; "" when the registry does not take that."""
        nonce = base64.urlsafe_b64encode(os.urandom(16)).rstrip(b"=").decode()
        url = _token_url(challenge, nonce=nonce, ts=str(int(time.time())))
        identity = await asyncio.to_thread(load_identity, self._home / ".ollama")
        nothing = base64.b64encode(sha256(b"").hexdigest().encode()).decode()
        return await self._token_from(url, identity.sign(f"GET,{url},{nothing}".encode()))

    async def _token(self, challenge: Challenge, authorization: str) -> str:
        return await self._token_from(_token_url(challenge), authorization)

    async def _token_from(self, url: str, authorization: str) -> str:
        headers = {"Authorization": authorization} if authorization else {}
        async with self._http.send("GET", url, headers) as reply:
            if reply.status != 200:
                return ""
            body = await reply.read(MAX_TOKEN_BODY)
        try:
            token = msgspec.json.decode(body, type=_Token)
        except NOT_JSON as error:
            raise UpstreamError("the registry's token makes no sense") from error
        text = token.token or token.access_token
        return f"Bearer {text}" if text.isascii() and text.isprintable() and text else ""


def _denied() -> str:
    raise UpstreamError(DENIED)


def _token_url(challenge: Challenge, **extra: str) -> str:
    """The keys in the order in which Go encodes them, as the signature covers the text."""
    pairs = [*extra.items(), *(("scope", scope) for scope in challenge.scope.split())]
    if challenge.service:
        pairs.append(("service", challenge.service))
    query = "&".join(
        f"{key}={quote_plus(value)}" for key, value in sorted(pairs, key=lambda pair: pair[0])
    )
    separator = "&" if "?" in challenge.realm else "?"
    return f"{challenge.realm}{separator}{query}" if query else challenge.realm


def docker_credentials(home: Path, registry: str) -> Credentials | None:
    """What `docker login` stored for a registry's host, without its helper programs. Blocks."""
    folder = Path(os.environ.get("DOCKER_CONFIG") or home / ".docker")
    try:
        config = msgspec.json.decode((folder / "config.json").read_bytes(), type=_DockerConfig)
    except (OSError, *NOT_JSON):
        return None
    host = urlsplit(registry).netloc
    names = (host, f"https://{host}", f"http://{host}", f"https://{host}/v2/")
    entry = next((config.auths[name] for name in names if name in config.auths), _DockerEntry())
    try:
        pair = base64.b64decode(entry.auth, validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    username, separator, password = pair.partition(":")
    return Credentials(username, password) if separator else None
