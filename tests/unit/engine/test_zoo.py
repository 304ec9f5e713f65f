"""Every architecture of the zoo, from its GGUF, through the engine: the references' logits and greedy texts,
alone, in a batch and from the cache."""

import json
import math
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from converters.sinks import live
from mlx_ollama.engine.engine import Engine
from mlx_ollama.engine.loader import LoadedModel, load_stream
from mlx_ollama.engine.sequence import PrefillEvent, SamplingParams, TokenEvent
from tests.unit.engine.tiny import drain, request, run

ZOO = [
    "gemma2",
    "gemma3",
    "gpt_oss",
    "granite",
    "llama",
    "llama31",
    "mistral",
    "mixtral",
    "olmo2",
    "phi3",
    "qwen2",
    "qwen3",
    "qwen3_moe",
]
QUANTIZED = ["Q4_0", "Q4_1", "Q8_0", "Q4_K_M", "Q6_K"]


def load(gguf: Path) -> LoadedModel:
    if not gguf.exists():
        pytest.skip(f"no {gguf.name} in the zoo")
    source = live([gguf])
    return load_stream(source.config, source.weights)


def references(path: Path, kind: str = "") -> dict[str, Any]:
    golden = json.loads(path.read_text())
    return golden["types"][kind] | {"ids": golden["ids"]} if kind else golden


def first_difference(tokens: list[int], golden: dict[str, Any]) -> int | None:
    """The first step that differs although the reference was sure."""
    for step, (ours, theirs) in enumerate(zip(tokens, golden["greedy"], strict=True)):
        if ours != theirs:
            return None if golden["greedy_gap"][step] < 1e-2 else step
    return None


def check(loaded: LoadedModel, golden: dict[str, Any]) -> None:
    length = len(golden["greedy"])
    wanted = [request(i, golden["ids"], max_tokens=length) for i in range(3)]
    others = [request(i, golden["ids"][: i + 3], max_tokens=length) for i in range(10, 14)]
    engine = Engine(loaded, parallel=4)
    cold = run(engine, [others[0], wanted[0], *others[1:], wanted[1]], every=3)
    assert first_difference(cold[0], golden) is None
    assert cold[0] == cold[1] == run(Engine(loaded), wanted[2:])[2]
    engine.submit(wanted[2])
    events = drain(engine)
    assert next(e for e in events if isinstance(e, PrefillEvent)).cached > 0
    assert [e.token for e in events if isinstance(e, TokenEvent)] == cold[0]


def check_logprobs(loaded: LoadedModel, golden: dict[str, Any], tolerance: float = 1e-3) -> None:
    """The twenty most likely tokens after the prompt, as a client would read them."""
    engine = Engine(loaded)
    sampling = SamplingParams(temperature=0, top_logprobs=20)
    engine.submit(request(0, golden["ids"], max_tokens=1, sampling=sampling))
    (event,) = [e for e in drain(engine) if isinstance(e, TokenEvent)]
    logits = mx.array(golden["last_logits"])
    reference: Any = (logits - mx.logsumexp(logits)).tolist()
    assert len(event.top) == 20
    for entry in event.top:
        assert math.isclose(entry.logprob, reference[entry.token], rel_tol=0, abs_tol=tolerance)
    least = sorted(reference)[-20]
    assert all(reference[entry.token] > least - tolerance for entry in event.top)


@pytest.mark.parametrize("name", ZOO)
def test_gguf_gives_the_references_text_and_logprobs(shared: Path, name: str) -> None:
    loaded = load(shared / "zoo" / name / "model-f16.gguf")
    golden = references(shared / "zoo" / name / "golden.json")
    check(loaded, golden)
    # llama.cpp's converter rounds gemma's norms, one more than the checkpoint's, to float16.
    check_logprobs(loaded, golden, tolerance=3e-3 if name.startswith("gemma") else 1e-3)


@pytest.mark.parametrize("kind", QUANTIZED)
def test_quantised_gguf_gives_the_references_logprobs(shared: Path, kind: str) -> None:
    loaded = load(shared / "zoo" / "llama-256" / f"{kind}.gguf")
    golden = references(shared / "zoo" / "llama-256" / "golden-quant.json", kind)
    tokens = run(Engine(loaded), [request(0, golden["ids"], max_tokens=len(golden["greedy"]))])[0]
    assert first_difference(tokens, golden) is None
    check_logprobs(loaded, golden)
