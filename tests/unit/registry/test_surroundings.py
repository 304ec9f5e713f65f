"""A full disk, certificates of the user's own, proxies."""

import datetime
import errno
import ipaddress
import os
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mlx_ollama.errors import StoreUnwritable, UpstreamError
from mlx_ollama.registry import http, partial
from mlx_ollama.registry.access import Access
from mlx_ollama.registry.partial import Partial
from mlx_ollama.store.blobs import Blobs, Digest
from tests.fakes.registry import Answer, FakeRegistry, serving
from tests.unit.registry.conftest import IMPATIENT, Side
from tests.unit.registry.test_hostile import hosting, layer, manifest

pytestmark = pytest.mark.anyio
CONTENT = bytes(range(256)) * 100


# ---- disk


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
async def test_a_store_that_cannot_be_written_is_named_and_the_rest_of_it_stays(
    error: int, here: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.make("other")
    before = here.files()
    async with FakeRegistry().running() as fake:
        name = hosting(fake, manifest(layer(CONTENT)), CONTENT)

        def refuse(*_: Any) -> int:
            raise OSError(error, "no")

        with monkeypatch.context() as patch:
            patch.setattr(partial.os, "pwrite", refuse)
            with pytest.raises(StoreUnwritable):
                await here.pull(name)
        assert {*before} <= {*here.files()}
        await here.pull(name)
    assert here.is_whole(name)
    assert here.is_whole("other")


# ---- partial files


def partial_of(folder: Path, content: bytes = CONTENT, part: int = 1000) -> Partial:
    return Partial(Blobs(folder), Digest.of(content), len(content), part)


def test_what_was_written_is_remembered(tmp_path: Path) -> None:
    with partial_of(tmp_path) as first:
        first.write(0, CONTENT[:1500])
        first.write(5000, CONTENT[5000:5010])
    with partial_of(tmp_path) as second:
        assert second.done == 1510
        assert second.frontier == 1500
        second.write(0, CONTENT)
        assert second.done == second.frontier == len(CONTENT)
        second.finish()
    assert [path.name for path in tmp_path.iterdir()] == [Digest.of(CONTENT).file_name]
    assert Blobs(tmp_path).hash(Digest.of(CONTENT)) == Digest.of(CONTENT)


def test_after_a_power_cut_only_what_was_synced_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with partial_of(tmp_path) as first:
        first.write(0, CONTENT[:700])
        first.sync()
        first.write(700, CONTENT[700:900])
    monkeypatch.setattr(partial, "_boot", lambda: b"another boot".ljust(32))
    with partial_of(tmp_path) as second:
        assert second.done == 700


@pytest.mark.parametrize("damage", [b"", b"x", bytes(56), b"mlxpart1" + b"\xff" * 200])
def test_a_record_that_makes_no_sense_is_not_believed(damage: bytes, tmp_path: Path) -> None:
    with partial_of(tmp_path) as first:
        first.write(0, CONTENT[:700])
    (record,) = tmp_path.glob("*.parts")
    record.write_bytes(damage)
    with partial_of(tmp_path) as second:
        assert second.done == 0


def test_links_in_the_place_of_a_partial_are_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("precious")
    folder = tmp_path / "blobs"
    folder.mkdir()
    (folder / f"{Digest.of(CONTENT).file_name}.part").symlink_to(target)
    with pytest.raises(OSError, match="symbolic links"), partial_of(folder):
        pass
    assert target.read_text() == "precious"


def test_two_processes_do_not_write_one_partial(tmp_path: Path) -> None:
    with (
        partial_of(tmp_path),
        pytest.raises(UpstreamError, match="another process"),
        partial_of(tmp_path),
    ):
        pass


def test_an_interrupted_download_is_kept_for_days_and_not_for_ever(here: Side) -> None:
    with partial_of(here.store.blobs.folder) as first:
        first.write(0, CONTENT[:700])
    for days, count in ((3, 2), (8, 0)):
        for path in here.store.blobs.folder.glob("*.part*"):
            os.utime(path, (0, time.time() - days * 24 * 3600))
        here.store.prune()
        assert len(here.files()) == count


# ---- TLS


def certificate(folder: Path) -> Path:
    """A self-signed one for 127.0.0.1, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8
    pem = serialization.Encoding.PEM
    path = folder / "certificate.pem"
    private = key.private_bytes(pem, form, serialization.NoEncryption())
    path.write_bytes(made.public_bytes(pem) + private)
    return path


async def test_certificates_are_checked_and_the_users_own_are_trusted(
    here: Side, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    fake = FakeRegistry()
    monkeypatch.setattr(http.CheckedNetwork, "__init__", _trusting(http.CheckedNetwork))
    here.access = Access(home=here.folder, patience=IMPATIENT)
    async with serving(fake.handle, ssl=context) as fake.host:
        name = hosting(fake, manifest(layer(CONTENT)), CONTENT)
        with pytest.raises(UpstreamError, match="failed to verify certificate"):
            await here.pull(name)
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        await here.pull(name)
    assert here.is_whole(name)


def _trusting(network: Any) -> Any:
    """Loopback without `insecure`, which would also skip certificates."""
    original = network.__init__
    return lambda self, **_: original(self, allows_private=True)


async def test_insecure_takes_any_certificate(here: Side, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path))
    fake = FakeRegistry()
    async with serving(fake.handle, ssl=context) as fake.host:
        name = hosting(fake, manifest(layer(CONTENT)), CONTENT)
        await here.pull(name)
    assert here.is_whole(name)


# ---- proxies


async def test_the_environments_proxy_is_used_and_no_proxy_respected(
    here: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeRegistry().running() as proxy, FakeRegistry().running() as fake:
        hosting(fake, manifest(layer(CONTENT)), CONTENT)
        proxy.manifests, proxy.blobs = fake.manifests, fake.blobs
        proxy.say = lambda request: Answer(403) if request.method == "CONNECT" else None
        monkeypatch.setenv("http_proxy", f"http://{proxy.host}")
        monkeypatch.setenv("https_proxy", f"http://{proxy.host}")
        await here.pull("nowhere.example/a/b")
        assert proxy.paths("http://nowhere.example/v2/a/b/manifests/latest")
        seen = len(proxy.requests)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        await here.pull(f"{fake.host}/evil/model")
        assert len(proxy.requests) == seen
        assert fake.requests


def test_variables_named_in_upper_case_count_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example:3128")
    assert (
        http.proxy_of(http.check_url("https://registry.example/v2/")) == "http://proxy.example:3128"
    )
