"""Image bytes to what a model sees, and their places in a prompt.

Bytes are untrusted: four formats, the first frame, and bounds that are checked before a pixel is decoded.
"""

import hashlib
import io
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageOps, UnidentifiedImageError

from mlx_ollama.engine.vision.model import Features, Prepared, TokenText, VisionModel
from mlx_ollama.engine.vision.prompt import ImagePrompt, image_prompt
from mlx_ollama.errors import InvalidRequest

FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
MAX_BYTES = 32 << 20
MAX_PIXELS = 50_000_000
MAX_SIDE = 20_000
FEATURES_KEPT = 8  # images whose features wait for the next turn of their conversation
Image.MAX_IMAGE_PIXELS = None  # Pillow only warns; the bounds above are ours, and stricter
_MARK = re.compile(r"\[img-(\d+)\]")


@dataclass(frozen=True)
class Picture:
    """An image as its model wants it; `digest` is the SHA-256 of its bytes."""

    digest: str
    prepared: Prepared


def decode(content: bytes) -> Image.Image:
    """The first frame, upright, in RGB; what is transparent is white. Raises InvalidRequest."""
    if len(content) > MAX_BYTES:
        raise InvalidRequest(f"invalid image: larger than {MAX_BYTES >> 20} MB")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            _check_size(image.width, image.height)
            image.load()
            return _as_rgb(ImageOps.exif_transpose(image))
    except InvalidRequest:
        raise
    except UnidentifiedImageError as error:
        raise InvalidRequest("invalid image: neither PNG, JPEG, WEBP nor GIF") from error
    except Exception as error:
        raise InvalidRequest("invalid image: it cannot be decoded") from error


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise InvalidRequest(f"invalid image: {width} x {height} pixels are too many")


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits a sample, which convert() would clip
        image = image.convert("I").point(lambda value: value / 256).convert("L")
    if not image.has_transparency_data:
        return image.convert("RGB")
    ground = Image.new("RGBA", image.size, "white")
    ground.alpha_composite(image.convert("RGBA"))
    return ground.convert("RGB")


class Sight:
    """What a model that sees does with images. `prompt` runs on the engine's thread only; it keeps the features
    of the last images. `text` is a token's text by its id."""

    def __init__(self, model: VisionModel, text: TokenText) -> None:
        self._model, self._text = model, text
        self._features: OrderedDict[str, Features] = OrderedDict()

    def look(self, content: bytes) -> Picture:
        """Decoded and resized as the model wants it; no MLX. Raises InvalidRequest."""
        image = decode(content)
        try:
            prepared = self._model.prepare(image)
        except (ValueError, ZeroDivisionError) as error:
            size = f"{image.width} x {image.height}"
            reason = f"invalid image: the model cannot take {size} pixels"
            raise InvalidRequest(reason) from error
        return Picture(hashlib.sha256(content).hexdigest(), prepared)

    def place(
        self, prompt: str, pictures: Sequence[Picture], *, is_bare: bool
    ) -> tuple[str, list[Picture]]:
        """The prompt with each `[img-N]` as the model's own tokens, and the pictures in the order of the prompt.

        Images that a bare prompt, which no template has seen, does not mention stand in front.
        """
        placed, missing = list[Picture](), dict(enumerate(pictures))

        def expanded(mark: re.Match[str]) -> str:
            found = missing.pop(int(mark[1]), None)
            if found is None:
                return mark[0]
            placed.append(found)
            return self._model.expansion(found.prepared, self._text)

        prompt = _MARK.sub(expanded, prompt)
        if missing and not is_bare:
            raise InvalidRequest("the model's template has no place for an image")
        front = [self._model.expansion(found.prepared, self._text) for found in missing.values()]
        return "".join(front) + prompt, [*missing.values(), *placed]

    def prompt(self, ids: Sequence[int], pictures: Sequence[Picture]) -> ImagePrompt:
        """Ids and features brought together; ValueError when the ids name other images."""
        features = [self._of(found) for found in pictures]
        prepared = [found.prepared for found in pictures]
        return image_prompt(self._model, ids, prepared, features)

    def _of(self, found: Picture) -> Features:
        features = self._features.pop(found.digest, None) or self._model.encode(found.prepared)
        self._features[found.digest] = features
        while len(self._features) > FEATURES_KEPT:
            self._features.popitem(last=False)
        return features


def prefix_key(key: str, pictures: Sequence[Picture]) -> str:
    """Tells prompts with these images from others whose ids are the same."""
    if not pictures:
        return key
    digests = "".join(found.digest for found in pictures)
    return f"{key}:{hashlib.sha256(digests.encode()).hexdigest()}"
