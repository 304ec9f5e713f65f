"""Names, references and digests against the Go reference's answers."""

import base64
import unicodedata
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mlx_ollama.errors import InvalidDigest, InvalidName, InvalidRequest
from mlx_ollama.store.blobs import Blobs, address_hex
from mlx_ollama.store.names import ModelName, NameParts, is_valid_part, name_from_path, split_name
from mlx_ollama.store.reference import has_tag, parse_reference


def evaluate(case: dict[str, Any]) -> str | None:
    wanted = {key: case[key] for key in ("want", "error") if key in case}
    got = OPERATIONS[case["op"]](case)
    return None if got == wanted else f"want {wanted}, got {got}"


def name(case: dict[str, Any]) -> dict[str, Any]:
    bare = split_name(case["input"])
    parts = bare.completed()
    valid = ModelName.from_parts(parts) if parts.is_valid() else None
    path = "/".join(valid.path_parts()) if valid else None
    host = quote(parts.host, safe="!$&'()*+,;=:[]<>\"-._~")
    answer: dict[str, Any] = {
        "bare": bare._asdict(),
        "bare_valid": bare.is_valid(),
        "base_url": f"{parts.scheme}://{host}",
        "display_shortest": parts.shortest(),
        "filepath": path,
        "name": parts._asdict(),
        "namespace_model": f"{parts.namespace}/{parts.model}",
        "string": f"{parts.host}/{parts.namespace}/{parts.model}:{parts.tag}",
        "valid": valid is not None,
    }
    if valid:
        assert valid.full() == answer["string"]
        answer["manifest_path"] = f"manifests/{path}"
    else:
        answer["manifest_error"] = "file does not exist"
    return {"want": answer}


def name_part(case: dict[str, Any]) -> dict[str, Any]:
    kind, text = case["kind"], case.get("input")
    if text is None:
        text = base64.b64decode(case["input_b64"]).decode("utf-8", "replace")
    if kind == "digest":  # our names have none; the rule is a host's, as short as a tag
        return {"want": len(text) <= 80 and is_valid_part("host", text)}
    return {"want": is_valid_part(kind, text)}


def name_filepath(case: dict[str, Any]) -> dict[str, Any]:
    try:
        parts = name_from_path(Path(case["input"]).parts).parts()._replace(scheme="")
    except InvalidName:
        return {"want": {"name": NameParts()._asdict(), "valid": False}}
    return {"want": {"name": parts._asdict(), "valid": True}}


def name_equal(case: dict[str, Any]) -> dict[str, Any]:
    one, other = (split_name(case[key]).completed() for key in "ab")
    return {"want": fold(one) == fold(other)}


def fold(parts: NameParts) -> list[str]:
    if parts.is_valid():
        return list(ModelName.from_parts(parts).folded())
    return [unicodedata.normalize("NFKC", part).lower() for part in parts[1:]]


def name_merge(case: dict[str, Any]) -> dict[str, Any]:
    return {"want": split_name(case["a"]).or_else(split_name(case["b"]))._asdict()}


def blobs_path(case: dict[str, Any]) -> dict[str, Any]:
    if not case["input"]:  # Go's way to ask for the folder itself
        return {"want": Blobs(Path("blobs")).folder.as_posix()}
    try:
        return {"want": f"blobs/sha256-{address_hex(case['input'])}"}
    except InvalidDigest as error:
        return {"error": str(error)}


def modelref(case: dict[str, Any]) -> dict[str, Any]:
    text = case["input"]
    answer: dict[str, Any] = {
        "has_explicit_tag": has_tag(text.strip()),
        "stripped": text.strip(),
        "stripped_ok": False,
    }
    try:
        reference = parse_reference(text)
    except InvalidRequest as error:
        return {"want": answer | {"parse_error": str(error)}}
    is_cloud = reference.source == "cloud"
    if is_cloud:
        answer |= {"stripped": reference.base, "stripped_ok": True}
    return {
        "want": answer
        | {
            "base": reference.base,
            "source": reference.source or "unspecified",
            "pull_name": reference.pulled_as,
            "pull_cloud": is_cloud,
        }
    }


OPERATIONS = {
    function.__name__: function
    for function in (name, name_part, name_filepath, name_equal, name_merge, blobs_path, modelref)
}
