"""Vectors through the whole server: of encoders and language models, beside a chat, and to the official client."""

import hashlib
import json
import lzma
import os
import random
import subprocess
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import ollama
import pytest

from mlx_ollama.engine.loader import load_stream
from mlx_ollama.engine.pooling import embedder_of
from tests.conftest import DATA
from tests.serving import ServerProcess

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

ENCODER = DATA / "encoders" / "bert" / "model.gguf.xz"
# A folder of all-MiniLM-L6-v2 as Hugging Face has it; its vectors are recorded beside the checkout.
MINILM = os.environ.get("MLX_OLLAMA_TEST_MINILM", "")
Answer = tuple[int, dict[str, Any]]


class Client:
    def __init__(self, process: ServerProcess) -> None:
        self.process = process

    def post(self, path: str, body: dict[str, Any] | bytes) -> Answer:
        connection = HTTPConnection("127.0.0.1", self.process.port, timeout=120)
        try:
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            connection.request("POST", path, raw)
            response = connection.getresponse()
            content = response.read()
            return response.status, json.loads(content) if content else {}
        finally:
            connection.close()

    def create(self, name: str, files: dict[str, bytes]) -> None:
        digests: dict[str, str] = {}
        for file, content in files.items():
            digests[file] = f"sha256:{hashlib.sha256(content).hexdigest()}"
            assert self.post(f"/api/blobs/{digests[file]}", content)[0] in (200, 201)
        made = self.post("/api/create", {"model": name, "files": digests, "stream": False})
        assert made == (200, {"status": "success"})

    def vectors(self, model: str, texts: list[str], **fields: Any) -> np.ndarray[Any, Any]:
        status, body = self.post("/api/embed", {"model": model, "input": texts, **fields})
        assert status == 200, body
        return np.array(body["embeddings"])


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with ServerProcess(tmp_path_factory.mktemp("home")) as process:
        client = Client(process)
        client.create("encoder", {"model.gguf": lzma.decompress(ENCODER.read_bytes())})
        llama = (DATA / "zoo" / "llama" / "model-f16.gguf").read_bytes()
        client.create("speaker", {"model.gguf": llama})
        yield client


def test_an_encoder_s_vectors_are_those_of_its_weights(client: Client, tmp_path: Path) -> None:
    from converters.sinks import live

    (tmp_path / "model.gguf").write_bytes(lzma.decompress(ENCODER.read_bytes()))
    model = live([tmp_path / "model.gguf"], dtype="f32")
    loaded = load_stream(model.config, model.weights)
    embedder = embedder_of(loaded, lambda name: json.loads(model.files[name]))
    assert embedder is not None
    begin, end, first_word = 2, 3, 5
    alone = np.array(embedder.embed([[begin, first_word + 7, first_word + 30, end]]))[0]
    found = client.vectors("encoder", ["w7 w30", "w1"])
    assert np.abs(found[0] - alone / np.linalg.norm(alone)).max() < 1e-5
    body = client.post("/api/embed", {"model": "encoder", "input": ["w7 w30", "w1"]})[1]
    assert body["prompt_eval_count"] == 4 + 3


def test_an_encoder_only_embeds(client: Client) -> None:
    shown = client.post("/api/show", {"model": "encoder"})[1]
    assert shown["capabilities"] == ["embedding"]
    for path, what in (("/api/generate", "generate"), ("/api/chat", "chat")):
        hello = {"prompt": "x", "messages": [{"role": "user", "content": "x"}]}
        wanted = {"error": f'"encoder" does not support {what}'}
        assert client.post(path, {"model": "encoder", **hello}) == (400, wanted)


def test_a_long_text_is_cut_or_refused(client: Client) -> None:
    words = " ".join(["w1"] * 100)  # the encoder has 64 positions
    status, body = client.post("/api/embed", {"model": "encoder", "input": words})
    assert (status, body["prompt_eval_count"]) == (200, 64)
    refused = client.post("/api/embed", {"model": "encoder", "input": words, "truncate": False})
    assert refused == (400, {"error": "the input length exceeds the context length"})


def test_a_language_model_s_vectors_are_pooled_and_of_length_one(client: Client) -> None:
    texts = ["The sky", "A much longer text about the weather", "x"]
    found = client.vectors("speaker", texts)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    for text, vector in zip(texts, found, strict=True):
        assert np.abs(client.vectors("speaker", [text])[0] - vector).max() < 1e-5


def runner_bytes(process: ServerProcess) -> int:
    """Memory of the server's children."""
    listed = subprocess.run(["ps", "-A", "-o", "ppid=,rss="], capture_output=True, text=True)
    pairs = (line.split() for line in listed.stdout.splitlines())
    return sum(int(size) << 10 for parent, size in pairs if int(parent) == process.process.pid)


def test_two_thousand_texts_of_any_length_leave_no_memory_behind(client: Client) -> None:
    dice = random.Random(7)
    texts = [
        " ".join(f"w{dice.randrange(91)}" for _ in range(dice.choice([1, 3, 10, 60])))
        for _ in range(2048)
    ]
    first = client.vectors("encoder", texts)
    assert len(first) == len(texts)
    some = dice.sample(range(len(texts)), 8)
    alone = np.array([client.vectors("encoder", [texts[place]])[0] for place in some])
    assert np.abs(first[some] - alone).max() < 1e-5
    before = runner_bytes(client.process)
    for _ in range(3):
        client.vectors("encoder", texts)
    assert runner_bytes(client.process) - before < 32 << 20
    status, body = client.post("/api/embed", {"model": "encoder", "input": [*texts, "x"]})
    assert (status, body["error"]) == (400, "more than 2048 inputs")


def test_a_chat_of_the_same_model_goes_on(client: Client) -> None:
    options = {"temperature": 0, "num_predict": 100, "stop": []}
    ask = {"model": "speaker", "prompt": "Hi", "stream": False, "options": options, "raw": True}
    wanted = client.post("/api/generate", ask)[1]["response"]
    found = list[str]()
    beside = threading.Thread(
        target=lambda: found.append(client.post("/api/generate", ask)[1]["response"])
    )
    beside.start()
    vectors = client.vectors("speaker", [f"text {n} " * (n % 20 + 1) for n in range(200)])
    beside.join(120)
    assert found == [wanted]
    assert len(vectors) == 200


def test_the_official_client_embeds(client: Client) -> None:
    host = f"http://127.0.0.1:{client.process.port}"
    wanted = client.vectors("encoder", ["w1 w2", "w3"])
    with ollama.Client(host=host) as theirs:
        made = theirs.embed(model="encoder", input=["w1 w2", "w3"])
        assert np.allclose(np.array(made.embeddings), wanted)


def test_langchain_embeds(client: Client) -> None:
    langchain = pytest.importorskip("langchain_ollama")
    host = f"http://127.0.0.1:{client.process.port}"
    found = langchain.OllamaEmbeddings(model="encoder", base_url=host).embed_documents(["w1", "w2"])
    assert np.allclose(np.array(found), client.vectors("encoder", ["w1", "w2"]))


@pytest.mark.skipif(not MINILM, reason="MLX_OLLAMA_TEST_MINILM names no folder")
def test_minilm_s_vectors_are_as_recorded(client: Client, shared: Path) -> None:
    golden = json.loads((shared / "golden" / "all-minilm-l6-v2.json").read_text())
    folder = Path(MINILM)
    kinds = (".json", ".safetensors")
    files = [path for path in folder.rglob("*") if path.suffix in kinds]
    contents = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
    client.create("minilm", contents)
    texts = [case["text"] for case in golden["cases"]]
    status, body = client.post("/api/embed", {"model": "minilm", "input": texts})
    assert status == 200, body
    assert body["prompt_eval_count"] == sum(case["tokens"] for case in golden["cases"])
    wanted = np.array([case["embedding"] for case in golden["cases"]])
    assert (np.array(body["embeddings"]) * wanted).sum(1).min() > 0.99999
