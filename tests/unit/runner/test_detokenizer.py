"""Whole characters only, and none lost."""

from mlx_ollama.runner.detokenizer import Detokenizer, whole_text
from mlx_ollama.runner.vocabulary import end_of_turn_tokens, token_bytes


def test_a_character_split_over_tokens_is_held_back_until_it_is_whole() -> None:
    detokenizer = Detokenizer()
    pieces = [bytes([byte]) for byte in "aé🚀".encode()]
    assert [detokenizer.add(piece) for piece in pieces] == ["a", "", "é", "", "", "", "🚀"]


def test_bytes_that_are_no_character_become_the_replacement_character() -> None:
    assert whole_text([b"a\xff", b"b\xe2\x82", b"c"]) == "a�b�c"


def test_an_unfinished_last_character_is_no_text() -> None:
    assert whole_text([b"ok", b"\xf0\x9f"]) == "ok"


def test_byte_level_tokens_are_the_bytes_behind_their_letters() -> None:
    assert token_bytes("ĠhiĊ", "bytes", added=False) == b" hi\n"


def test_sentencepiece_tokens_have_blanks_and_bytes() -> None:
    assert token_bytes("▁hi", "sentencepiece", added=False) == b" hi"
    assert token_bytes("<0xE2>", "sentencepiece", added=False) == b"\xe2"


def test_an_added_token_is_written_as_it_is() -> None:
    assert token_bytes("<é>", "bytes", added=True) == "<é>".encode()


def test_turn_ends_are_known_by_name_but_not_harmony_s_channel_end() -> None:
    assert end_of_turn_tokens(["<|im_end|>", "<|im_start|>"]) == {"<|im_end|>"}
    harmony = {"<|end|>", "<|return|>", "<|call|>"}
    assert end_of_turn_tokens(harmony) == {"<|return|>", "<|call|>"}
