"""Untrusted pictures, and their places in a prompt."""

import io
import zlib
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from PIL import Image

from mlx_ollama.engine.vision.model import Features, Prepared, VisionModel
from mlx_ollama.errors import InvalidRequest
from mlx_ollama.runner.images import FEATURES_KEPT, Sight, decode, prefix_key


def written(image: Image.Image, form: str = "PNG", **fields: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **fields)
    return out.getvalue()


@pytest.mark.parametrize(
    ("form", "mode"),
    [*((form, mode) for form in ("PNG", "WEBP", "GIF") for mode in ("RGB", "L", "P"))]
    + [("JPEG", mode) for mode in ("RGB", "L", "CMYK")],
)
def test_the_four_formats_become_rgb(form: str, mode: str) -> None:
    image = decode(written(Image.new(mode, (3, 2)), form))
    assert (image.mode, image.size) == ("RGB", (3, 2))


def test_what_is_transparent_is_white() -> None:
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    image.putpixel((1, 0), (255, 0, 0, 255))
    found = decode(written(image))
    assert [found.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (255, 0, 0)]


def test_sixteen_bits_a_sample_are_scaled() -> None:
    samples = np.array([[0, 0x8000, 0xFFFF]], np.uint16)
    found = decode(written(Image.fromarray(samples)))
    assert [found.getpixel((x, 0)) for x in range(3)] == [(0,) * 3, (128,) * 3, (255,) * 3]


def test_a_picture_taken_sideways_stands_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    assert decode(written(Image.new("RGB", (4, 2)), "JPEG", exif=exif)).size == (2, 4)


def _bomb(width: int, height: int) -> bytes:
    """A PNG whose header promises more pixels than are there."""

    def chunk(name: bytes, body: bytes) -> bytes:
        code = zlib.crc32(name + body).to_bytes(4, "big")
        return len(body).to_bytes(4, "big") + name + body + code

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    data = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "neither PNG"),
        (b"hello", "neither PNG"),
        (written(Image.new("RGB", (2, 2)), "TIFF"), "neither PNG"),
        (_bomb(13_300, 13_300), "13300 x 13300 pixels are too many"),
        (_bomb(1, 20_001), "1 x 20001 pixels are too many"),
        (written(Image.effect_noise((64, 64), 50))[:-200], "cannot be decoded"),
        (bytes(33 << 20), "larger than 32 MB"),
    ],
    ids=["empty", "text", "tiff", "many pixels", "long side", "truncated", "many bytes"],
)
def test_a_bad_picture_is_the_request_s_fault(content: bytes, text: str) -> None:
    with pytest.raises(InvalidRequest, match="invalid image: ") as caught:
        decode(content)
    assert text in str(caught.value)


class Seeing(VisionModel):
    """A token for each pixel; the image token is 7."""

    image_token = 7

    def prepare(self, image: Image.Image) -> Prepared:
        return Prepared(pixels=np.zeros((1,), np.float32), grid=(image.height, image.width))

    def encode(self, prepared: Prepared) -> Features:
        raise NotImplementedError


SIGHT = Sight(Seeing(), lambda token: f"<{token}>")
WIDE, TALL = (SIGHT.look(written(Image.new("RGB", size))) for size in ((2, 1), (1, 3)))


def test_a_mark_becomes_as_many_tokens_as_its_picture_has() -> None:
    text, pictures = SIGHT.place("a[img-1]b[img-0]c", [WIDE, TALL], is_bare=False)
    assert text == "a<7><7><7>b<7><7>c"
    assert pictures == [TALL, WIDE]


def test_a_mark_without_a_picture_is_text() -> None:
    text, pictures = SIGHT.place("[img-5][img-0][img-0]", [WIDE], is_bare=False)
    assert (text, pictures) == ("[img-5]<7><7>[img-0]", [WIDE])


def test_pictures_that_a_bare_prompt_does_not_mention_stand_in_front() -> None:
    assert SIGHT.place("what?", [WIDE], is_bare=True) == ("<7><7>what?", [WIDE])


def test_a_template_that_loses_a_picture_is_an_error() -> None:
    with pytest.raises(InvalidRequest, match="has no place for an image"):
        SIGHT.place("what?", [WIDE], is_bare=False)


class Counting(Seeing):
    """Knows how often its tower ran."""

    def __init__(self) -> None:
        super().__init__()
        self.runs = 0

    def encode(self, prepared: Prepared) -> Features:
        self.runs += 1
        return Features(tokens=mx.zeros((prepared.tokens, 4)))


def test_a_second_question_about_a_picture_computes_no_tower() -> None:
    model = Counting()
    sight = Sight(model, lambda token: f"<{token}>")
    content = written(Image.new("RGB", (2, 1)))
    for _ in range(3):  # each request decodes its picture anew
        prompt = sight.prompt([1, 7, 7, 2], [sight.look(content)])
        assert prompt.spans == ((1, 3),)
    assert model.runs == 1
    sight.prompt([7, 7, 7, 7, 7], [WIDE, TALL])
    assert model.runs == 2


def test_only_the_last_pictures_are_kept() -> None:
    model = Counting()
    sight = Sight(model, str)
    pictures = [sight.look(written(Image.new("RGB", (1, n + 1)))) for n in range(FEATURES_KEPT + 1)]
    for picture in pictures:
        sight.prompt([7] * picture.prepared.tokens, [picture])
    sight.prompt([7] * pictures[-1].prepared.tokens, [pictures[-1]])
    assert model.runs == len(pictures)
    sight.prompt([7], [pictures[0]])
    assert model.runs == len(pictures) + 1


def test_prompts_with_other_pictures_share_no_prefix() -> None:
    assert prefix_key("k", []) == "k"
    assert prefix_key("k", [WIDE]) != prefix_key("k", [TALL])
    assert prefix_key("k", [WIDE, TALL]) != prefix_key("k", [TALL, WIDE])
