"""Every environment variable and path, read once into one frozen struct.

Names beginning with OLLAMA_ mean what they mean to Ollama; MLX_OLLAMA_ are our own.
A value that cannot be read is reported in `Settings.problems` and its default is used.
"""

import ipaddress
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from mlx_ollama import durations

DEFAULT_PORT = 11434
MEBIBYTE = 1 << 20
GIBIBYTE = 1 << 30
SMALL_MAC_BYTES = 16 * GIBIBYTE


class Settings(Struct, kw_only=True, frozen=True):
    """What the server runs with. Durations are nanoseconds, sizes bytes; 0 means automatic where it says so."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    models: Path = Path()
    cache: Path = Path()
    cache_limit: int = 0  # of derived weights; 0: no cap
    keep_alive: int = 5 * 60 * durations.SECOND
    context_length: int = 0  # automatic
    num_parallel: int = 4
    max_queue: int = 512
    max_loaded_models: int = 0  # automatic
    load_timeout: int = 5 * 60 * durations.SECOND
    noprune: bool = False
    origins: tuple[str, ...] = ()
    debug: bool = False
    dense: bool | None = None  # dequantise weights at load; None: on the CPU when it fits
    openblas: str | None = None  # library preloaded into runners; None: find one, "": none
    max_body: int = 512 * MEBIBYTE  # of generate, chat and embed
    max_management_body: int = 64 * MEBIBYTE  # of every other JSON body
    problems: tuple[str, ...] = ()

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def load(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings of this process."""
    given: dict[str, Any] = {}
    problems: list[str] = []
    for name, (field, parse) in _variables().items():
        text = environment.get(name, "").strip().strip("\"'")
        if not text:
            continue
        try:
            given[field] = parse(text)
        except ValueError:
            problems.append(f"{name}: cannot read {text[:80]!r}, using the default")
    if "address" in given:
        given["host"], given["port"] = given.pop("address")
    home = Path(environment.get("HOME") or Path.home())
    given.setdefault("models", home / ".ollama" / "models")
    given.setdefault("cache", _default_cache(home, environment.get("XDG_CACHE_HOME")))
    given["num_parallel"] = given.get("num_parallel") or default_parallel()
    return Settings(**given, problems=tuple(problems))


def _variables() -> dict[str, tuple[str, Callable[[str], Any]]]:
    """Each variable's field and reader."""
    return {
        "OLLAMA_HOST": ("address", parse_host),
        "OLLAMA_MODELS": ("models", _path),
        "OLLAMA_KEEP_ALIVE": ("keep_alive", _keep_alive),
        "OLLAMA_CONTEXT_LENGTH": ("context_length", _natural),
        "OLLAMA_NUM_PARALLEL": ("num_parallel", _natural),
        "OLLAMA_MAX_QUEUE": ("max_queue", _natural),
        "OLLAMA_MAX_LOADED_MODELS": ("max_loaded_models", _natural),
        "OLLAMA_LOAD_TIMEOUT": ("load_timeout", _load_timeout),
        "OLLAMA_NOPRUNE": ("noprune", _flag),
        "OLLAMA_ORIGINS": ("origins", _comma_list),
        "OLLAMA_DEBUG": ("debug", _flag),
        "MLX_OLLAMA_CACHE": ("cache", _path),
        "MLX_OLLAMA_CACHE_LIMIT": ("cache_limit", _size),
        "MLX_OLLAMA_DENSE": ("dense", _flag),
        "MLX_OLLAMA_OPENBLAS": ("openblas", _library),
        "MLX_OLLAMA_MAX_BODY": ("max_body", _size),
        "MLX_OLLAMA_MAX_MANAGEMENT_BODY": ("max_management_body", _size),
    }


def _default_cache(home: Path, xdg: str | None) -> Path:
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "mlx-ollama"
    return (Path(xdg) if xdg else home / ".cache") / "mlx-ollama"


def parse_host(text: str) -> tuple[str, int]:
    """`host`, `:port`, `host:port`, `[v6]:port` or a URL to host and port; raises ValueError."""
    scheme, separator, _ = text.partition("://")
    default = {"http": 80, "https": 443}.get(scheme, DEFAULT_PORT) if separator else DEFAULT_PORT
    bare = text.count(":") > 1 and not separator and not text.startswith("[")
    url = urlsplit(f"//[{text}]" if bare else text if separator else f"//{text}")
    return url.hostname or "127.0.0.1", default if url.port is None else url.port


def default_parallel() -> int:
    """Sharing a batch is free, but a small Mac has no memory for four contexts."""
    if sys.platform == "darwin":
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return 1 if memory <= SMALL_MAC_BYTES else 4
    return 4


def _path(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _natural(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError
    return number


def _size(text: str) -> int:
    factors = {"k": 1 << 10, "m": MEBIBYTE, "g": GIBIBYTE}
    letter = text[-1:].lower()
    if letter in factors:
        return _natural(text[:-1]) * factors[letter]
    return _natural(text)


def _flag(text: str) -> bool:
    """As Ollama: what is no boolean but is set, is true."""
    return text.lower() not in ("0", "f", "false", "no", "off")


def _comma_list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _library(text: str) -> str:
    return text if _flag(text) else ""


def _seconds_or_duration(text: str) -> int:
    try:
        return int(text) * durations.SECOND
    except ValueError:
        return durations.parse(text)


def _keep_alive(text: str) -> int:
    duration = _seconds_or_duration(text)
    return durations.FOREVER if duration < 0 else duration


def _load_timeout(text: str) -> int:
    """As Ollama: nothing or less means no limit."""
    duration = _seconds_or_duration(text)
    return durations.FOREVER if duration <= 0 else duration
