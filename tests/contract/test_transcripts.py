"""Exchanges recorded from a real Ollama, played against a real server process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import DATA
from tests.contract.exchange import Exchange, differences, load, send
from tests.serving import ServerProcess

TRANSCRIPTS = DATA / "transcripts"
ROUTING = load(TRANSCRIPTS / "01-routing.jsonl.gz")
DECODING = load(TRANSCRIPTS / "02-decode.jsonl.gz")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("home")) as process:
        yield process


def _play(server: ServerProcess, exchanges: list[Exchange], files: dict[str, Path]) -> list[str]:
    found: list[str] = []
    for exchange in exchanges:
        answer = send(server.port, exchange["request"], files)
        found += (f"{exchange['id']}: {text}" for text in differences(exchange, answer))
    return found


@pytest.mark.contract
def test_routing_is_as_recorded(server: ServerProcess) -> None:
    assert _play(server, ROUTING, {}) == []


@pytest.mark.contract
def test_decoding_is_as_recorded(server: ServerProcess) -> None:
    assert _play(server, DECODING, {}) == []
