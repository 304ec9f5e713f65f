"""S-01, S-60 to S-64: a registry that means harm."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from mlx_ollama.errors import UpstreamError
from mlx_ollama.registry import addresses, checks
from mlx_ollama.registry.access import Access
from mlx_ollama.registry.checks import check_config, check_manifest
from mlx_ollama.store.blobs import Digest
from mlx_ollama.store.manifests import LAYER_PREFIX
from tests.fakes.registry import Answer, FakeRegistry, Request
from tests.unit.registry.conftest import Side

pytestmark = pytest.mark.anyio
CONFIG = b'{"model_format":"gguf"}'
BAD_DIGESTS: list[Any] = [
    "sha256:../../../../x", "sha256-../x", "sha256:" + "a" * 63, "sha256:" + "a" * 65,
    "sha256:" + "A" * 64, "sha256:" + "a" * 64 + "\n", "sha256:" + "a" * 63 + "\0",
    "sha512:" + "a" * 64, "", None, 7,
]  # fmt: skip
KINDS = ["model", "template", "params", "tensor", "draft", "json"]


def layer(content: bytes, kind: str = "model", **other: Any) -> dict[str, Any]:
    digest = str(Digest.of(content))
    return {"mediaType": LAYER_PREFIX + kind, "digest": digest, "size": len(content)} | other


def manifest(*layers: Any, config: Any = None, **other: Any) -> bytes:
    top = layer(CONFIG) if config is None else config
    return json.dumps({"schemaVersion": 2, "config": top, "layers": list(layers)} | other).encode()


def hosting(fake: FakeRegistry, content: bytes, *blobs: bytes) -> str:
    """The name of a model that the fake now has."""
    fake.manifests["latest"] = content
    fake.blobs = {str(Digest.of(blob)): blob for blob in (CONFIG, *blobs)}
    return f"{fake.host}/evil/model"


async def refuse(side: Side, name: str, message: str) -> None:
    with pytest.raises(UpstreamError, match=message):
        await side.pull(name)
    assert [file for file in side.files() if not file.endswith((".part", ".parts"))] == []


@pytest.mark.parametrize("digest", BAD_DIGESTS, ids=repr)
async def test_a_bad_digest_is_refused_before_any_blob_is_asked_for(
    digest: Any, here: Side
) -> None:
    async with FakeRegistry().running() as fake:
        places = [manifest(layer(b"x", kind) | {"digest": digest}) for kind in KINDS]
        places.append(manifest(layer(b"x"), config=layer(CONFIG) | {"digest": digest}))
        for content in places:
            await refuse(here, hosting(fake, content), "invalid digest|makes no sense")
        assert fake.paths("/blobs/") == []
    assert here.files() == []


@pytest.mark.parametrize(
    "content",
    [
        b"", b"null", b"[]", b"{", b'{"schemaVersion":1}', b"<html></html>", b"\xff\xfe",
        manifest(layer(b"x"), schemaVersion=1),
        manifest(),
        manifest(layer(b"x") | {"size": -1}),
        manifest(layer(b"x") | {"size": 2**60}),
        manifest(layer(b"x") | {"size": "1"}),
        manifest(layer(b"x"), layer(b"x") | {"size": 2}),
        manifest(layer(b"x"), config=layer(CONFIG) | {"size": 5 << 20}),
        manifest(layer(b"x", "surprise")),
        b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}',
        b"[" * 100_000,
    ],
    ids=lambda content: content[:40].decode("latin-1") if isinstance(content, bytes) else "",
)  # fmt: skip
async def test_a_manifest_that_makes_no_sense_is_refused(content: bytes, here: Side) -> None:
    async with FakeRegistry().running() as fake:
        await refuse(here, hosting(fake, content), "manifest|layers of type|configuration|layers")
        assert fake.paths("/blobs/") == []


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
                        st.sampled_from(["schemaVersion", "config", "layers", "digest", "size"]),
                        inner, max_size=4), max_leaves=12))  # fmt: skip
def test_no_manifest_breaks_the_check(value: Any) -> None:
    with pytest.raises(UpstreamError):
        check_manifest(json.dumps(value).encode())


async def test_too_many_layers_are_refused(monkeypatch: pytest.MonkeyPatch, here: Side) -> None:
    monkeypatch.setattr(checks, "MAX_LAYERS", 3)
    async with FakeRegistry().running() as fake:
        content = manifest(*(layer(b"x") for _ in range(4)))
        await refuse(here, hosting(fake, content), "more than 3 layers")


async def test_an_endless_manifest_is_cut_off(here: Side) -> None:
    async with FakeRegistry().running() as fake:
        await refuse(here, hosting(fake, b" " * (5 << 20)), "longer than 4194304 bytes")


async def test_a_size_that_lies_is_found_out(here: Side) -> None:
    async with FakeRegistry().running() as fake:
        content = b"x" * 20_000
        for size in (10_000, 30_000):
            name = hosting(fake, manifest(layer(content) | {"size": size}), content)
            await refuse(here, name, "manifest says")


async def test_compressed_answers_are_not_asked_for_and_not_unpacked(here: Side) -> None:
    async with FakeRegistry().running() as fake:
        bomb = b"\x1f\x8b" + bytes(1000)
        fake.say = lambda request: (
            Answer(200, {"Content-Encoding": "gzip"}, bomb) if "manifests" in request.path else None
        )
        await refuse(here, f"{fake.host}/evil/model", "makes no sense")
        assert {request.headers["accept-encoding"] for request in fake.requests} == {"identity"}


async def test_room_is_looked_for_before_the_first_byte(here: Side) -> None:
    async with FakeRegistry().running() as fake:
        name = hosting(fake, manifest(layer(b"x") | {"size": 1 << 49}))
        await refuse(here, name, "not enough disk space: need .* bytes, have ")
        assert fake.paths("/blobs/") == [f"/v2/evil/model/blobs/{Digest.of(CONFIG)}"]


@pytest.mark.parametrize("requires", ["0.34.0", "v1.0.0", "0.100"])
def test_a_model_for_a_newer_ollama_is_refused(requires: str) -> None:
    with pytest.raises(UpstreamError, match="this model requires Ollama"):
        check_config(json.dumps({"requires": requires}).encode())


@pytest.mark.parametrize("requires", ["", "0.33.0", "0.33.9", "0.12.3", "nonsense"])
def test_a_model_for_an_older_ollama_is_not(requires: str) -> None:
    check_config(json.dumps({"requires": requires}).encode())


# ---- addresses


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "0.0.0.0", "224.0.0.1", "::", "fe80::1", "ff02::1", "::ffff:169.254.1.1"],
)
def test_nobodys_addresses_are_never_allowed(address: str) -> None:
    for allows in (True, False):
        with pytest.raises(addresses.AddressNotAllowed):
            addresses.check(address, allows_private=allows)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "192.168.1.1", "100.64.0.1", "::1", "fd00::1", "::ffff:10.0.0.1"],
)
def test_private_addresses_are_for_the_insecure(address: str) -> None:
    addresses.check(address, allows_private=True)
    with pytest.raises(addresses.AddressNotAllowed):
        addresses.check(address, allows_private=False)


def test_public_addresses_are_allowed() -> None:
    addresses.check("1.1.1.1", allows_private=False)
    addresses.check("2606:4700::1111", allows_private=False)


@pytest.mark.parametrize(
    "host", ["127.0.0.1:22", "0.0.0.0", "2130706433", "localhost:1", "0177.0.0.1"]
)
async def test_no_spelling_of_a_private_address_gets_through(host: str, here: Side) -> None:
    here.access = Access(home=here.folder)
    await refuse(here, f"{host}/a/b", "registry address not allowed")


async def test_the_address_that_was_checked_is_the_one_connected_to(
    here: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is public when it is first looked up, and private afterwards."""
    import asyncio

    here.access = Access(home=here.folder)
    connected: list[str] = []
    answers = iter(["192.0.0.9", "127.0.0.1", "127.0.0.1"])

    async def resolve(*_: Any, **__: Any) -> list[Any]:
        return [(2, 1, 6, "", (next(answers), 443))]

    async def connect(_: Any, host: str, *__: Any, **___: Any) -> Any:
        connected.append(host)
        raise addresses.httpcore.ConnectError("refused")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve, raising=False)
    monkeypatch.setattr(addresses.httpcore.AnyIOBackend, "connect_tcp", connect)
    with pytest.raises(UpstreamError, match="connection refused"):
        await here.pull("rebind.example/a/b")
    with pytest.raises(UpstreamError, match="not allowed"):
        await here.pull("rebind.example/a/b")
    assert connected == ["192.0.0.9"]


# ---- redirects (S-61)


def redirecting(target: str) -> Callable[[Request], Answer | None]:
    def say(request: Request) -> Answer | None:
        return Answer(307, {"Location": target}) if "/blobs/" in request.path else None

    return say


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("file:///etc/passwd", "redirect not allowed"),
        ("http://user:password@127.0.0.1/x", "redirect not allowed"),
        ("http://169.254.169.254/latest", "registry address not allowed"),
        ("gopher://x/", "redirect not allowed"),
        ("http://[::1", "redirect not allowed"),
    ],
)
async def test_a_redirect_to_where_nobody_goes_is_refused(
    target: str, message: str, here: Side
) -> None:
    async with FakeRegistry().running() as fake:
        name = hosting(fake, manifest(layer(b"x")), b"x")
        fake.say = redirecting(target)
        await refuse(here, name, message)


async def test_authorization_does_not_follow_a_redirect(here: Side) -> None:
    content = b"w" * 9000
    async with FakeRegistry().running() as fake, FakeRegistry().running() as elsewhere:
        name = hosting(fake, manifest(layer(content)), content)
        elsewhere.blobs = fake.blobs

        def say(request: Request) -> Answer | None:
            if "authorization" not in request.headers and "token" not in request.path:
                realm = f"http://{fake.host}/token"
                return Answer(401, {"WWW-Authenticate": f'Bearer realm="{realm}",service="s"'})
            if "/token" in request.path:
                return Answer(200, {}, b'{"token":"secret"}')
            last = request.path.rpartition("/")[2]
            is_blob = "/blobs/" in request.path
            return Answer(302, {"Location": f"http://{elsewhere.host}/{last}"}) if is_blob else None

        fake.say = say
        await here.pull(name)
    assert elsewhere.requests
    assert all("authorization" not in request.headers for request in elsewhere.requests)


# ---- tokens (S-62)


@pytest.mark.parametrize(
    "challenge",
    [
        'Bearer realm="https://evil.example/token",service="s"',
        'Bearer realm="http://{host}:1/token"',
        'Bearer realm="https://{host}/token"',
        "Bearer",
        'Bearer realm=""',
        "Digest realm=x",
        "Basic realm=x",
        '"' * 1000,
        "Bearer " + 'a="b",' * 5000,
    ],
)
async def test_a_challenge_that_leads_elsewhere_gets_nothing(challenge: str, here: Side) -> None:
    async with FakeRegistry().running() as fake:
        header = challenge.replace("{host}", fake.host)
        fake.say = lambda request: (
            None if request.path == "/v2/" else Answer(401, {"WWW-Authenticate": header})
        )
        await refuse(here, f"{fake.host}/evil/model", "unauthorized|does not match")
        assert all("authorization" not in request.headers for request in fake.requests)
    assert not (here.folder / ".ollama").exists()


async def test_a_token_that_is_never_enough_is_asked_for_twice_at_most(here: Side) -> None:
    async with FakeRegistry().running() as fake:

        def say(request: Request) -> Answer:
            if "/token" in request.path:
                return Answer(200, {}, b'{"token":"t"}')
            return Answer(401, {"WWW-Authenticate": f'Bearer realm="http://{fake.host}/token"'})

        fake.say = say
        await refuse(here, f"{fake.host}/evil/model", "unauthorized: access denied")
        assert len(fake.paths("/token")) <= 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"token":"\xff"}',
        b'{"a":' * 5000,
        b'{"token":"a\\nb"}',
        b"[" * 70_000,
        b" " * 70_000,
    ],
)
async def test_a_token_that_makes_no_sense_is_none(body: bytes, here: Side) -> None:
    async with FakeRegistry().running() as fake:

        def say(request: Request) -> Answer:
            if "/token" in request.path:
                return Answer(200, {}, body)
            return Answer(401, {"WWW-Authenticate": f'Bearer realm="http://{fake.host}/token"'})

        fake.say = say
        await refuse(here, f"{fake.host}/evil/model", "unauthorized|token makes no sense|longer")
