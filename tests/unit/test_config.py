"""The environment as settings."""

import pytest

from mlx_ollama import config, durations


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("", ("127.0.0.1", 11434)),
        ("0.0.0.0", ("0.0.0.0", 11434)),
        (":5", ("127.0.0.1", 5)),
        ("[::1]:5", ("::1", 5)),
        ("::1", ("::1", 11434)),
        ("http://mac", ("mac", 80)),
        ("https://mac", ("mac", 443)),
        ("http://mac:7/x", ("mac", 7)),
        (' "mac:7" ', ("mac", 7)),
    ],
)
def test_a_host_is_an_address_or_a_url(text: str, address: tuple[str, int]) -> None:
    settings = config.load({"OLLAMA_HOST": text, "HOME": "/h"})
    assert (settings.host, settings.port) == address


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("-1", durations.FOREVER),
        ("90", 90 * durations.SECOND),
        ("1h", 3600 * durations.SECOND),
    ],
)
def test_keep_alive_is_seconds_or_a_duration(text: str, nanoseconds: int) -> None:
    assert config.load({"OLLAMA_KEEP_ALIVE": text, "HOME": "/h"}).keep_alive == nanoseconds


def test_what_cannot_be_read_is_told_and_its_default_used() -> None:
    given = {
        "OLLAMA_NUM_PARALLEL": "x",
        "OLLAMA_HOST": "a:b",
        "MLX_OLLAMA_MAX_BODY": "1g",
        "HOME": "/h",
    }
    settings = config.load(given)
    assert (settings.num_parallel, settings.port, settings.max_body) == (4, 11434, 1 << 30)
    assert [text.split(":")[0] for text in settings.problems] == [
        "OLLAMA_HOST",
        "OLLAMA_NUM_PARALLEL",
    ]


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [("127.0.0.1", True), ("::1", True), ("0.0.0.0", False), ("mac", False)],
)
def test_loopback_is_known(host: str, is_loopback: bool) -> None:
    assert config.load({"OLLAMA_HOST": host, "HOME": "/h"}).is_loopback == is_loopback
