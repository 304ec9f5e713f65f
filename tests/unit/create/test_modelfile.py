from pathlib import Path

import pytest

from mlx_ollama.api.messages import Message
from mlx_ollama.create.modelfile import ModelfileError, decode_modelfile, parse_modelfile
from mlx_ollama.create.request import request_of
from mlx_ollama.errors import InvalidRequest
from mlx_ollama.store.modelfile import Command, print_modelfile
from tests.golden.__main__ import run_file


@pytest.mark.parametrize("name", ["modelfile", "names"])
def test_all_answers_are_the_references(shared: Path, name: str) -> None:
    passed, total = run_file(shared / "golden" / "go" / f"{name}.jsonl")
    assert passed == total > 300


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("FROM a", [("model", "a")]),
        ('from "a b"\nsystem """x\ny"""', [("model", "a b"), ("system", "x\ny")]),
        ("FROM a # no comment\n# a comment\nLICENSE l", [("model", "a # no comment"), ("license", "l")]),
        ('FROM a\nTEMPLATE "one\ntwo"\n', [("model", "a"), ("template", "one\ntwo")]),
        ("FROM a\nPARAMETER stop \"  x \"", [("model", "a"), ("stop", "  x ")]),
        ("FROM a\r\nMESSAGE user hi\r\n", [("model", "a"), ("message", "user: hi")]),
        ("FROM a\nSYSTEM z\u200dw\u00a0v", [("model", "a"), ("system", "zwv")]),
    ],
)  # fmt: skip
def test_a_modelfile_becomes_its_commands(text: str, commands: list[tuple[str, str]]) -> None:
    assert parse_modelfile(text) == commands


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "no FROM line"),
        ("SYSTEM x", "no FROM line"),
        ('FROM "a', "unexpected EOF"),
        ("FROM a\nWHAT x", '(line 2): command must be one of "from", "license",'),
        ("FROM a\nMESSAGE bot x", "(line 2): message role must be one of"),
        ("FROM a\nMESSAGE user: x", "unexpected EOF: user"),
    ],
)
def test_a_mistake_is_told_with_its_line(text: str, error: str) -> None:
    with pytest.raises(ModelfileError) as raised:
        parse_modelfile(text)
    assert str(raised.value).startswith(error)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_may_be_utf8_or_marked_utf16(encoding: str) -> None:
    assert decode_modelfile("FROM é".encode(encoding)) == "FROM é"


def test_what_is_printed_can_be_parsed() -> None:
    commands = [
        Command("model", "/a/b c.gguf"),
        Command("template", "{{ .Prompt }}\n"),
        Command("system", 'You are "x".\n'),
        Command("stop", " a"),
        Command("message", "user: two\nlines"),
    ]
    assert parse_modelfile(print_modelfile(commands)) == commands


def test_commands_become_a_request() -> None:
    request = request_of(
        parse_modelfile(
            "FROM base\nSYSTEM s\nLICENSE a\nLICENSE b\nPARAMETER stop x\nPARAMETER stop y\n"
            "PARAMETER num_ctx 10\nPARAMETER mirostat 2\nMESSAGE user hi\nREQUIRES v0.14.0"
        )
    )
    assert request.from_ == "base"
    assert request.system == "s"
    assert request.license == ["a", "b"]
    assert request.parameters == {"stop": ["x", "y"], "num_ctx": 10}
    assert request.messages == [Message(role="user", content="hi")]
    assert request.requires == "0.14.0"


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("PARAMETER bogus 1", "unknown parameter 'bogus'"),
        ("PARAMETER top_k 1.5", r"invalid int value \[1.5\]"),
        ("PARAMETER use_mmap yes", r"invalid bool value \[yes\]"),
        ("REQUIRES nope", "requires must be a valid semver"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(line: str, error: str) -> None:
    with pytest.raises(InvalidRequest, match=error):
        request_of(parse_modelfile(f"FROM a\n{line}"))
