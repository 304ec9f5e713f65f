"""The identity that Ollama's registry knows: an ed25519 key in OpenSSH's form, as Ollama keeps it."""

import base64
import os
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mlx_ollama.errors import UpstreamError

KEY_NAME = "id_ed25519"


class Identity:
    """A key and its public half as the second word of an authorized_keys line."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = _public_line(key).split()[1]

    def sign(self, content: bytes) -> str:
        """`PUBLIC:SIGNATURE`, which is the whole Authorization header."""
        return f"{self.public}:{base64.b64encode(self._key.sign(content)).decode()}"


def load_identity(folder: Path) -> Identity:
    """The key in `folder` (`~/.ollama`), made there when there is none. Blocks. UpstreamError."""
    path = folder / KEY_NAME
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return _make(path)
    except OSError as error:
        raise UpstreamError("cannot read the registry key") from error
    try:
        key = serialization.load_ssh_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UpstreamError("the registry key is damaged") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UpstreamError("the registry key is no ed25519 key")
    return Identity(key)


def _make(path: Path) -> Identity:
    key = Ed25519PrivateKey.generate()
    form = serialization.PrivateFormat.OpenSSH
    private = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(path, private, 0o600)
        _write(path.with_suffix(".pub"), _public_line(key).encode() + b"\n", 0o644)
    except FileExistsError:
        return load_identity(path.parent)  # another process was faster
    except OSError as error:
        raise UpstreamError("cannot make a registry key") from error
    return Identity(key)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Whole or not at all, and never over another."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.link(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink()


def _public_line(key: Ed25519PrivateKey) -> str:
    form = serialization.PublicFormat.OpenSSH
    return key.public_key().public_bytes(serialization.Encoding.OpenSSH, form).decode()
