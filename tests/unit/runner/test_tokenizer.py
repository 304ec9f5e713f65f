"""Tokenizers: as the library would, whatever is cached; hostile files refused."""

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from tokenizers import Tokenizer as Library

from mlx_ollama.errors import InvalidRequest, LoadFailed
from tests.unit.runner.conftest import SPECIAL, byte_level, load, sentencepiece

BYTES = load(byte_level(), bos_token="<s>", eos_token="<|im_end|>", add_bos_token=True)
PIECES = load(sentencepiece(), bos_token="<s>")
TEXTS = st.lists(
    st.sampled_from([*SPECIAL, "hi", " hi", "\n", "é🚀", " ", "<|", "hello"]), max_size=8
)


@settings(max_examples=60)
@given(TEXTS)
def test_segments_give_the_ids_of_the_whole_text(parts: list[str]) -> None:
    text = "".join(parts)
    for tokenizer, parsed in ((BYTES, byte_level()), (PIECES, sentencepiece())):
        whole = Library.from_str(json.dumps(parsed)).encode(text, add_special_tokens=False).ids
        assert tokenizer.encode(text) == whole
        assert tokenizer.encode(text) == whole  # from the cache


def test_byte_level_text_comes_back() -> None:
    text = "<|im_start|>hi é🚀\n hi<|im_end|>"
    assert BYTES.decode(BYTES.encode(text)) == text


def test_sentencepiece_bytes_come_back() -> None:
    assert PIECES.decode(PIECES.encode("hi é")) == " hi é"


def test_the_beginning_of_a_sequence_is_added_once() -> None:
    bos = BYTES.id_of("<s>")
    assert BYTES.encode_prompt("hi")[0] == bos
    assert BYTES.encode_prompt("<s>hi") == BYTES.encode_prompt("hi")
    assert PIECES.encode_prompt("hi") == PIECES.encode("hi")


def test_where_the_config_is_silent_the_post_processor_says_whether_a_sequence_has_a_beginning() -> (
    None
):
    parsed = byte_level()
    bos = next(token["id"] for token in parsed["added_tokens"] if token["content"] == "<s>")
    parsed["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "<s>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
        ],
        "pair": [],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [bos], "tokens": ["<s>"]}},
    }
    assert load(parsed, bos_token="<s>").adds_bos
    assert not load(parsed, bos_token="<s>", add_bos_token=False).adds_bos


def test_what_would_pad_truncate_or_draw_is_taken_out() -> None:
    parsed = byte_level()
    parsed["padding"] = {
        "strategy": {"Fixed": 4_000_000_000},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "<s>",
    }
    parsed["truncation"] = {
        "direction": "Right",
        "max_length": 2,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    parsed["model"]["dropout"] = 0.9
    assert load(parsed).encode("hi hi hi") == BYTES.encode("hi hi hi")


def hostile(name: str) -> dict[str, Any]:
    parsed = byte_level()
    grow = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 100}
    match name:
        case "replacements":
            parsed["normalizer"] = {"type": "Sequence", "normalizers": [grow] * 5}
        case "pattern":
            parsed["pre_tokenizer"] = {
                "type": "Split",
                "pattern": {"Regex": "a" * 5000},
                "behavior": "Isolated",
                "invert": False,
            }
        case "huge id":
            parsed["model"]["vocab"]["x"] = 4_294_967_295
        case "no model":
            del parsed["model"]
        case _:
            parsed["model"]["vocab"] = {}
            parsed["model"]["merges"] = []
            parsed["added_tokens"] = []
    return parsed


@pytest.mark.parametrize("name", ["replacements", "pattern", "huge id", "no model", "empty"])
def test_a_hostile_tokenizer_is_refused(name: str) -> None:
    with pytest.raises(LoadFailed, match="invalid tokenizer"):
        load(hostile(name))


def test_a_tokenizer_with_more_ids_than_embeddings_is_refused() -> None:
    with pytest.raises(LoadFailed, match="beyond the model's 100 embeddings"):
        load(byte_level(), size=100)


def test_a_panic_of_the_library_is_an_error_of_the_request() -> None:
    parsed = byte_level()
    parsed["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [
            {
                "type": "Split",
                "pattern": {"Regex": "(a+)+$"},
                "behavior": "Isolated",
                "invert": False,
            },
            parsed["pre_tokenizer"],
        ],
    }
    with pytest.raises(InvalidRequest, match="cannot be tokenized"):
        load(parsed).encode("a" * 60 + "b")


@pytest.mark.parametrize("token", [-1, 600, 1 << 31, 1 << 63])
def test_ids_without_an_embedding_are_refused(token: int) -> None:
    with pytest.raises(InvalidRequest, match="token id out of range"):
        BYTES.check_ids([0, token])


def test_end_tokens_are_those_stated_and_those_known_by_name() -> None:
    ends = BYTES.end_tokens([5, 10_000])
    assert ends == {5, BYTES.id_of("<|im_end|>"), BYTES.id_of("</s>"), BYTES.id_of("<|call|>")}
