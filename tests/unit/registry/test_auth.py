import base64
import json
import stat
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from mlx_ollama.errors import UpstreamError
from mlx_ollama.registry.access import Access
from mlx_ollama.registry.auth import Challenge, Credentials, docker_credentials, parse_challenge
from mlx_ollama.registry.key import load_identity
from tests.fakes.registry import Answer, FakeRegistry, Request
from tests.unit.registry.conftest import IMPATIENT, Side
from tests.unit.registry.test_hostile import hosting, layer, manifest

pytestmark = pytest.mark.anyio


def test_challenges_are_read() -> None:
    header = 'Bearer realm="https://r/token",service="reg",scope="repository:a/b:pull,push x"'
    expected = Challenge("bearer", "https://r/token", "reg", "repository:a/b:pull,push x")
    assert parse_challenge(header) == expected
    assert parse_challenge("Basic realm=plain").realm == "plain"
    with pytest.raises(UpstreamError):
        parse_challenge("Negotiate x")


def test_a_key_is_made_once_as_ollama_keeps_it(tmp_path: Path) -> None:
    folder = tmp_path / ".ollama"
    first, second = load_identity(folder), load_identity(folder)
    assert first.public == second.public
    assert stat.S_IMODE((folder / "id_ed25519").stat().st_mode) == 0o600
    assert (folder / "id_ed25519").read_text().startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
    assert (folder / "id_ed25519.pub").read_text() == f"ssh-ed25519 {first.public}\n"


@pytest.mark.parametrize("content", [b"", b"-----BEGIN OPENSSH PRIVATE KEY-----\n", b"\0" * 100])
def test_a_damaged_key_is_named_and_kept(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "id_ed25519").write_bytes(content)
    with pytest.raises(UpstreamError, match="registry key is damaged"):
        load_identity(tmp_path)
    assert (tmp_path / "id_ed25519").read_bytes() == content


async def test_a_token_is_asked_for_with_a_signature_that_holds(here: Side) -> None:
    async with FakeRegistry().running() as fake:
        name = hosting(fake, manifest(layer(b"x")), b"x")
        realm = f"http://{fake.host}/token"

        def say(request: Request) -> Answer | None:
            if "/token" in request.path:
                return Answer(200, {}, b'{"token":"good"}')
            if request.headers.get("authorization") == "Bearer good":
                return None
            scope = "repository:evil/model:pull"
            header = f'Bearer realm="{realm}",service="{fake.host}",scope="{scope}"'
            return Answer(401, {"WWW-Authenticate": header})

        fake.say = say
        await here.pull(name)
        (asked,) = [request for request in fake.requests if "/token" in request.path]
    public, signature = asked.headers["authorization"].split(":")
    line = f"ssh-ed25519 {public}".encode()
    query = asked.path.partition("?")[2]
    assert [pair.partition("=")[0] for pair in query.split("&")] == [
        "nonce",
        "scope",
        "service",
        "ts",
    ]
    nothing = base64.b64encode(sha256(b"").hexdigest().encode()).decode()
    signed = f"GET,http://{fake.host}{asked.path},{nothing}".encode()
    serialization.load_ssh_public_key(line).verify(base64.b64decode(signature), signed)  # type: ignore[union-attr, call-arg]


async def test_a_token_server_that_knows_no_signatures_is_asked_plainly(here: Side) -> None:
    async with FakeRegistry().running() as fake:
        name = hosting(fake, manifest(layer(b"x")), b"x")

        def say(request: Request) -> Answer | None:
            if "/token" in request.path:
                is_plain = "authorization" not in request.headers
                return Answer(200, {}, b'{"access_token":"a"}') if is_plain else Answer(401)
            if request.headers.get("authorization") == "Bearer a":
                return None
            return Answer(401, {"WWW-Authenticate": f'Bearer realm="http://{fake.host}/token"'})

        fake.say = say
        await here.pull(name)
    assert here.is_whole(name)


async def test_a_user_is_known_by_basic_authentication(here: Side) -> None:
    credentials = Credentials("user", "password")
    here.access = Access(
        home=here.folder, insecure=True, credentials=credentials, patience=IMPATIENT
    )
    async with FakeRegistry().running() as fake:
        name = hosting(fake, manifest(layer(b"x")), b"x")
        fake.say = lambda request: (
            None
            if request.headers.get("authorization") == credentials.basic
            else Answer(401, {"WWW-Authenticate": "Basic realm=x"})
        )
        await here.pull(name)
    assert here.is_whole(name)


def test_what_docker_login_stored_is_found(tmp_path: Path) -> None:
    auth = base64.b64encode(b"me:pass:word").decode()
    (tmp_path / ".docker").mkdir()
    config = {"auths": {"registry.example:5000": {"auth": auth}, "bad": {"auth": "!"}}}
    (tmp_path / ".docker" / "config.json").write_text(json.dumps(config))
    found = docker_credentials(tmp_path, "https://registry.example:5000")
    assert found == Credentials("me", "pass:word")
    assert docker_credentials(tmp_path, "https://other.example") is None
    assert docker_credentials(tmp_path, "https://bad") is None
