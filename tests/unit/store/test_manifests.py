import json
from typing import Any

import pytest

from mlx_ollama.errors import CorruptData, InvalidDigest, MlxOllamaError
from mlx_ollama.store.manifests import parse_manifest

DIGEST = "sha256:" + "0" * 64
BAD_DIGESTS: list[Any] = [
    "sha256:../../../../x", "sha256-../x", "sha256:" + "0" * 63, "sha256:" + "0" * 65,
    "sha256:" + "A" * 64, DIGEST + "\n", DIGEST + "\0", "sha512:" + "0" * 64, "", None, 7,
]  # fmt: skip


def manifest(**changes: Any) -> bytes:
    layer = {"mediaType": "application/vnd.ollama.image.model", "digest": DIGEST, "size": 1}
    return json.dumps({"schemaVersion": 2, "config": layer, "layers": [layer]} | changes).encode()


@pytest.mark.parametrize("digest", BAD_DIGESTS, ids=repr)
@pytest.mark.parametrize("place", ["config", "layers"])
@pytest.mark.parametrize("kind", ["model", "template", "tensor", "draft", "json", "unknown"])
def test_a_bad_digest_anywhere_is_refused(digest: Any, place: str, kind: str) -> None:
    layer = {"mediaType": f"application/vnd.ollama.image.{kind}", "digest": digest, "size": 1}
    good = {"mediaType": "x", "digest": DIGEST, "size": 1}
    content = manifest(**{place: layer if place == "config" else [good, layer]})
    with pytest.raises((InvalidDigest, CorruptData)) as raised:
        parse_manifest(content)
    if isinstance(digest, str):
        assert isinstance(raised.value, InvalidDigest)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        b"{",
        b"[]",
        b"null",
        b"{}",
        manifest()[:-9],
        manifest(layers=3),
        b"[" * 100_000,
        manifest(mediaType="\udcff").replace(rb"\udcff", b"\xff"),
    ],
)
def test_what_is_no_manifest_is_corrupt(content: bytes) -> None:
    with pytest.raises(MlxOllamaError, match="corrupt manifest"):
        parse_manifest(content)


def test_negative_sizes_are_corrupt() -> None:
    layer = {"mediaType": "x", "digest": DIGEST, "size": -1}
    with pytest.raises(CorruptData):
        parse_manifest(manifest(layers=[layer]))


def test_unknown_keys_and_missing_lists_are_fine() -> None:
    layer = {"mediaType": "x", "digest": DIGEST, "size": 5, "annotations": {"a": "b"}}
    parsed = parse_manifest(json.dumps({"config": layer, "other": 1}).encode())
    assert parsed.size == 5
    assert parsed.layers == []
    assert parse_manifest(json.dumps({"config": layer, "layers": None}).encode()).layers == []
