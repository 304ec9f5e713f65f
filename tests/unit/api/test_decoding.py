"""Bodies as Go's decoder takes them, and bounds that it does not have."""

import time

import pytest

from mlx_ollama.api import go_json
from mlx_ollama.api.decoding import decode
from mlx_ollama.api.models import CreateRequest, ShowRequest
from mlx_ollama.api.ollama import ChatRequest, GenerateRequest
from mlx_ollama.errors import InvalidRequest


def test_a_lone_surrogate_becomes_the_replacement_character() -> None:
    request = decode(b'{"model":"m","prompt":"a\\ud83d b \\ud83d\\ude00"}', GenerateRequest)
    assert request.prompt == "a\ufffd b \U0001f600"


def test_bytes_that_are_no_utf8_become_the_replacement_character() -> None:
    assert decode(b'{"model":"m","prompt":"a\xff"}', GenerateRequest).prompt == "a\ufffd"


def test_bytes_after_the_first_value_are_ignored() -> None:
    assert decode(b'{"model":"m"} trailing', GenerateRequest).model == "m"


def test_keys_match_in_any_case() -> None:
    assert decode(b'{"MODEL":"m","Stream":false}', ChatRequest).stream is False
    assert decode(b'{"Name":"m"}', ShowRequest).target == "m"


def test_null_is_not_given() -> None:
    body = (
        b'{"model":"m","prompt":null,"options":null,"images":null,"keep_alive":null,"think":null}'
    )
    assert decode(body, GenerateRequest) == GenerateRequest(model="m")
    request = decode(b'{"model":"m","adapters":null,"stream":null}', CreateRequest)
    assert (request.adapters, request.stream) == ({}, True)


@pytest.mark.parametrize("depth", [2_000, 100_000, 1_000_000])
@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_deep_nesting_is_refused_quickly(depth: int, opening: bytes) -> None:
    body = b'{"model":"m","options":{"x":' + opening * depth
    started = time.process_time()
    with pytest.raises(InvalidRequest):
        decode(body, GenerateRequest)
    assert time.process_time() - started < 5


def test_a_body_of_brackets_is_refused_before_it_costs_memory() -> None:
    body = b'{"model":"m","options":{"x":[' + b"[]," * go_json.MAX_VALUES
    with pytest.raises(InvalidRequest, match="too many values"):
        decode(body + b"[]]}}", GenerateRequest)


@pytest.mark.parametrize("number", [b"1e400", b"9" * 5000, b"NaN", b"-Infinity"])
def test_numbers_beyond_all_bounds_are_refused(number: bytes) -> None:
    with pytest.raises(InvalidRequest):
        decode(b'{"model":"m","top_logprobs":' + number + b"}", GenerateRequest)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"data:image/png;base64,AAAA", "byte 4"),
        (b"AAA", "byte 0"),
        (b"_-8=", "byte 0"),
    ],
)
def test_an_image_that_is_no_base64_names_the_byte(text: bytes, error: str) -> None:
    with pytest.raises(InvalidRequest, match=f"illegal base64 data at input {error}"):
        decode(b'{"model":"m","images":["' + text + b'"]}', GenerateRequest)


def test_answers_are_safe_inside_html() -> None:
    text = '"<a> & \u2028\u2029 é"'.encode()
    assert go_json.escape_html(text) == rb'"\u003ca\u003e \u0026 \u2028\u2029 ' + 'é"'.encode()
