from pathlib import PurePosixPath

import pytest

from mlx_ollama.errors import InvalidName, InvalidRequest
from mlx_ollama.store.names import ModelName, name_from_path
from mlx_ollama.store.reference import parse_reference

HOSTILE = [
    "", " ", ":", "/", "..", ".", "../../etc/passwd", "a/../../b", "/abs", "a\\..\\b", "a/b/c/d/e",
    "a:..", "a:.", "../x:latest", "./x", "%2e%2e", "x" * 81, "x:" + "t" * 81, "y" * 10_000, "a\x00b",
    "a\nb", "http://h", "x@sha256:" + "a" * 64, "n.s/x", "é", "a b", "x:", ".x", "-x", "x:1:2",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=repr)
def test_what_is_no_name_cannot_become_one(text: str) -> None:
    with pytest.raises(InvalidName, match=r"^invalid model name$"):
        ModelName.parse(text)


@pytest.mark.parametrize("text", ["smol", "me/x:1", "hf.co/org/repo:Q4_K_M", "h:5000/a/b", "_x"])
def test_a_names_path_stays_below_its_folder(text: str) -> None:
    parts = ModelName.parse(text).path_parts()
    assert len(PurePosixPath(*parts).parts) == 4
    assert not {"", ".", ".."} & set(parts)
    assert name_from_path(parts) == ModelName.parse(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("llama3.2", "llama3.2:latest"),
        ("registry.ollama.ai/library/x:1", "x:1"),
        ("registry.ollama.ai/me/x", "me/x:latest"),
        ("h/library/x", "h/library/x:latest"),
        (" SMOL ", "SMOL:latest"),
    ],
)
def test_the_display_form_is_the_shortest_with_a_tag(text: str, shown: str) -> None:
    assert str(ModelName.parse(text)) == shown


def test_a_name_cannot_be_constructed_from_bad_parts() -> None:
    with pytest.raises(InvalidName):
        ModelName("h", "n", "..", "t")
    with pytest.raises(InvalidName):
        name_from_path(("h", "n", "m"))


def test_marks_say_where_a_model_is_run() -> None:
    assert parse_reference("m:7b:cloud").pulled_as == "m:7b-cloud"
    assert parse_reference("m:local") == ("m", "local")
    with pytest.raises(InvalidRequest, match="use either :local or :cloud"):
        parse_reference("m:cloud:local")
