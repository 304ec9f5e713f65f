"""Every family with a fixture: the reference's greedy text alone, the same in a batch, in chunks and from the cache."""

import json
import lzma
from pathlib import Path

import pytest

from converters.sinks import live
from mlx_ollama.engine.engine import Engine
from mlx_ollama.engine.loader import LoadedModel, load_stream
from mlx_ollama.engine.sequence import PrefillEvent, TokenEvent
from tests.conftest import DATA
from tests.unit.engine.tiny import drain, request, run

FIXTURES = sorted((DATA / "zoo").glob("*.gguf.xz"))


def load(fixture: Path, folder: Path) -> LoadedModel:
    gguf = folder / "model.gguf"
    gguf.write_bytes(lzma.decompress(fixture.read_bytes()))
    source = live([gguf])
    return load_stream(source.config, source.weights)


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda path: path.name.split(".")[0])
def test_one_text_however_it_is_served(fixture: Path, tmp_path: Path) -> None:
    loaded = load(fixture, tmp_path)
    golden = json.loads(fixture.with_name(fixture.name.replace(".gguf.xz", ".json")).read_text())
    ids, length = golden["ids"], len(golden["greedy"])
    # A window no longer than need be: it decides which table a model with two takes.
    asked = [
        request(i, prompt, max_tokens=length, num_ctx=len(ids) + length)
        for i, prompt in enumerate((ids, ids[:9], ids[:25]))
    ]
    alone = run(Engine(loaded, prefix_bytes=0), asked)
    sure = next(
        (i for i, gap in enumerate(golden["greedy_gap"]) if gap < 1e-2), len(golden["greedy"])
    )
    assert alone[0][:sure] == golden["greedy"][:sure]
    engine = Engine(loaded, parallel=3, target_gap=0.0)
    assert run(engine, asked, every=2) == alone
    engine.submit(asked[0])
    events = drain(engine)
    assert next(e for e in events if isinstance(e, PrefillEvent)).cached == len(ids) - 1
    assert [e.token for e in events if isinstance(e, TokenEvent)] == alone[0]
