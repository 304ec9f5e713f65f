"""Exchanges recorded from a real Ollama, played against a real server process."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlx_ollama import quickstart
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


# Not sent: a text that never ends by itself, in other words than the recorded one.
ENDLESS = {"predict-neg2"}
# The reference forgets the keywords of a schema that it does not know; ours refuses what it cannot honour.
STRICTER = {"format-false-schema"}
SMOL = Path(os.environ.get("MLX_OLLAMA_TEST_GGUF", quickstart.cache_folder() / "smollm2.gguf"))


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


@pytest.mark.e2e
@pytest.mark.timeout(1200)
def test_models_and_answers_are_as_recorded(server: ServerProcess, shared: Path) -> None:
    if not SMOL.exists():
        pytest.skip("SmolLM2 is not here: MLX_OLLAMA_TEST_GGUF names its file")
    files = {"SMOL": SMOL, "ZLLAMA": shared / "zoo" / "llama" / "model-f16.gguf"}
    names = ("03-models", "04-generate", "05-chat")
    recorded = [load(shared / "transcripts" / f"{name}.jsonl") for name in names]
    sent = [one for part in recorded for one in part if one["id"] not in ENDLESS]
    found = _play(server, sent, files)
    assert [text for text in found if text.split(":")[0] not in STRICTER] == []
