"""Pictures through the whole server: created from Safetensors and from GGUF, asked in every way."""

import base64
import hashlib
import io
import json
import threading
import zlib
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tokenizers import Tokenizer

from tests.conftest import DATA
from tests.serving import ServerProcess

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

CONTENT = "{{ range .Messages }}{{ .Content }}{{ end }}"
GREEDY = {"temperature": 0, "num_predict": 12}
CHECKPOINTS = sorted(path.parent for path in (DATA / "vision").glob("*/golden.json"))
LEFT_OUT = ("golden.json", "image.png")
# Two files, then Ollama's one.
GGUFS = [
    ("gemma3", ["model-f16.gguf", "mmproj-f16.gguf"]),
    ("gemma3", ["ollama-single.gguf"]),
    ("llava", ["model-f16.gguf", "mmproj-legacy-f16.gguf"]),
    ("qwen25vl", ["model-f16.gguf", "mmproj-f16.gguf"]),
    ("qwen25vl", ["ollama-single.gguf"]),
]
Answer = tuple[int, dict[str, Any]]


class Client:
    def __init__(self, port: int) -> None:
        self._port = port

    def post(self, path: str, body: dict[str, Any] | bytes) -> Answer:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=120)
        try:
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            connection.request("POST", path, raw)
            response = connection.getresponse()
            content = response.read()
            return response.status, json.loads(content) if content else {}
        finally:
            connection.close()

    def create(self, name: str, folder: Path, files: list[str]) -> None:
        digests: dict[str, str] = {}
        for file in files:
            content = (folder / file).read_bytes()
            digests[file] = f"sha256:{hashlib.sha256(content).hexdigest()}"
            assert self.post(f"/api/blobs/{digests[file]}", content)[0] in (200, 201)
        body = {"model": name, "files": digests, "template": CONTENT, "stream": False}
        assert self.post("/api/create", body) == (200, {"status": "success"})

    def chat(self, model: str, *turns: tuple[str, list[str]], **fields: Any) -> Answer:
        roles = ("user", "assistant")
        messages = [
            {"role": roles[place % 2], "content": text, "images": images}
            for place, (text, images) in enumerate(turns)
        ]
        body = {"model": model, "stream": False, "options": GREEDY, "messages": messages}
        return self.post("/api/chat", body | fields)

    def generate(self, model: str, prompt: str, images: list[str], **fields: Any) -> Answer:
        body = {"model": model, "stream": False, "options": GREEDY, "prompt": prompt}
        return self.post("/api/generate", body | {"images": images} | fields)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with ServerProcess(tmp_path_factory.mktemp("home")) as process:
        client = Client(process.port)
        for folder in CHECKPOINTS:
            names = [path.name for path in folder.iterdir() if path.name not in LEFT_OUT]
            client.create(folder.name, folder, names)
        llama = DATA / "zoo" / "llama"
        client.create("blind", llama, ["model-f16.gguf"])
        yield client


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def written(image: Image.Image, form: str, **fields: Any) -> str:
    out = io.BytesIO()
    image.save(out, form, **fields)
    return encoded(out.getvalue())


def text_of(answer: Answer) -> tuple[str, int]:
    """What a model said, and how many tokens its prompt had."""
    status, body = answer
    assert status == 200, body
    said = body["message"]["content"] if "message" in body else body["response"]
    return said, body["prompt_eval_count"]


def recorded(folder: Path, golden: str = "golden.json") -> tuple[str, int]:
    found = json.loads((folder / golden).read_text())
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    said: str = tokenizer.decode(found["greedy"][: GREEDY["num_predict"]])
    return said, len(found["input_ids"])


MODEL = DATA / "vision" / "qwen3vl"
PICTURE = Image.open(MODEL / "image.png").convert("RGB")
TURNED = PICTURE.transpose(Image.Transpose.ROTATE_180)
ONE, OTHER = written(PICTURE, "PNG"), written(TURNED, "PNG")


@pytest.mark.parametrize("folder", CHECKPOINTS, ids=lambda folder: folder.name)
def test_a_checkpoint_answers_as_recorded_through_both_endpoints(
    client: Client, folder: Path
) -> None:
    image = [encoded((folder / "image.png").read_bytes())]
    wanted = recorded(folder)
    assert text_of(client.chat(folder.name, ("What is this?", image))) == wanted
    assert text_of(client.generate(folder.name, "What is this?", image)) == wanted
    shown = client.post("/api/show", {"model": folder.name})[1]
    assert shown["capabilities"] == ["completion", "vision"]


@pytest.mark.parametrize(("family", "files"), GGUFS)
def test_a_gguf_answers_as_recorded(
    client: Client, shared: Path, family: str, files: list[str]
) -> None:
    folder = shared / "zoo-vision" / family
    name = f"{family}-{len(files)}"
    client.create(name, folder, files)
    image = [encoded((folder / "image-gguf.png").read_bytes())]
    said, tokens = text_of(client.chat(name, ("What is this?", image)))
    wanted, whole = recorded(folder, "golden-gguf.json")
    if (
        family == "llava"
    ):  # the recorded prompt has a line end behind the image, which no template here writes
        assert tokens == whole - 1
    else:
        assert (said, tokens) == (wanted, whole)
    assert text_of(client.generate(name, "What is this?", image)) == (said, tokens)
    shown = client.post("/api/show", {"model": name})[1]
    assert shown["capabilities"] == ["completion", "vision"]


def test_several_images_keep_their_order(client: Client) -> None:
    forth = text_of(client.chat(MODEL.name, ("a", [ONE, OTHER])))
    back = text_of(client.chat(MODEL.name, ("a", [OTHER, ONE])))
    assert forth != back
    bare = client.generate(MODEL.name, "[img-0][img-1]a", [ONE, OTHER], raw=True)
    assert text_of(bare) == forth
    bare = client.generate(MODEL.name, "[img-1][img-0]a", [ONE, OTHER], raw=True)
    assert text_of(bare) == back


def test_a_mark_in_the_text_is_the_image_s_place(client: Client) -> None:
    marked = text_of(client.chat(MODEL.name, ("a[img]b", [ONE])))
    assert marked == text_of(client.generate(MODEL.name, "a[img-0]b", [ONE], raw=True))
    assert marked != text_of(client.chat(MODEL.name, ("ab", [ONE])))


def test_images_of_former_turns_are_seen(client: Client) -> None:
    turns = [("a", [ONE]), ("b", []), ("c", [OTHER])]
    said = text_of(client.chat(MODEL.name, *turns))
    assert said == text_of(client.generate(MODEL.name, "[img-0]ab[img-1]c", [ONE, OTHER], raw=True))


def test_other_pictures_share_no_prefix(client: Client) -> None:
    first = text_of(client.chat(MODEL.name, ("look", [ONE])))
    assert text_of(client.chat(MODEL.name, ("look", [OTHER]))) != first
    assert text_of(client.chat(MODEL.name, ("look", [ONE]))) == first


def test_an_animation_is_its_first_frame(client: Client) -> None:
    plain = written(PICTURE, "GIF")
    animated = written(PICTURE, "GIF", save_all=True, append_images=[TURNED, PICTURE])
    wanted = text_of(client.chat(MODEL.name, ("a", [plain])))
    assert text_of(client.chat(MODEL.name, ("a", [animated]))) == wanted


def test_a_picture_in_printers_colours_is_seen(client: Client) -> None:
    image = written(PICTURE.convert("CMYK"), "JPEG")
    assert text_of(client.chat(MODEL.name, ("a", [image])))[1] > 1


def test_a_model_that_does_not_see_says_so(client: Client) -> None:
    wanted = {"error": "this model does not support image input"}
    assert client.chat("blind", ("a", [ONE])) == (400, wanted)
    assert client.generate("blind", "a", [ONE]) == (400, wanted)


def bomb() -> bytes:
    """Sixty thousand pixels on each side, in a hundred bytes."""

    def chunk(name: bytes, body: bytes) -> bytes:
        code = zlib.crc32(name + body).to_bytes(4, "big")
        return len(body).to_bytes(4, "big") + name + body + code

    side = (60_000).to_bytes(4, "big")
    head = chunk(b"IHDR", side + side + bytes([8, 2, 0, 0, 0]))
    return (
        b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(9))) + chunk(b"IEND", b"")
    )


BAD = [
    (encoded(bomb()), "60000 x 60000 pixels are too many"),
    (encoded(base64.b64decode(ONE)[:200]), "cannot be decoded"),
    (encoded(b"hello"), "neither PNG, JPEG, WEBP nor GIF"),
    ("", "neither PNG, JPEG, WEBP nor GIF"),
    (written(Image.new("RGB", (4000, 2)), "PNG"), "the model cannot take 4000 x 2 pixels"),
    ("!!!", "illegal base64 data at input byte 0"),
    ("https://example.com/a.png", "illegal base64 data"),
    (f"data:image/png;base64,{ONE}", "illegal base64 data at input byte 4"),
]


def test_bad_pictures_are_refused_and_disturb_nobody(client: Client) -> None:
    wanted = text_of(client.chat(MODEL.name, ("a", [ONE]), options=GREEDY | {"num_predict": 200}))
    others: list[tuple[str, int]] = []

    def stream() -> None:
        long = GREEDY | {"num_predict": 200}
        others.append(text_of(client.chat(MODEL.name, ("a", [ONE]), options=long)))

    beside = threading.Thread(target=stream)
    beside.start()
    for image, error in BAD:
        status, body = client.chat(MODEL.name, ("a", [image]))
        assert status == 400, image[:40]
        assert error in body["error"]
    beside.join(120)
    assert others == [wanted]
