"""Small tokenizers made on the spot."""

import json
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer as Library, decoders, models, pre_tokenizers

from mlx_ollama.runner.tokenizer import Tokenizer

SPECIAL = ("<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|call|>")


def byte_level() -> dict[str, Any]:
    """Every byte a token, a few merges, and special tokens behind them."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("h", "i"), ("Ġ", "hi"), ("l", "l")]
    pieces = [*alphabet, *("".join(pair) for pair in merges)]
    vocabulary = {piece: place for place, piece in enumerate(pieces)}
    library = Library(models.BPE(vocabulary, merges))
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    library.add_special_tokens([AddedToken(text, special=True) for text in SPECIAL])
    library.add_tokens([AddedToken("<think>"), AddedToken("</think>")])
    return json.loads(library.to_str())


def sentencepiece() -> dict[str, Any]:
    """Like Llama 2's: ▁ for a blank, bytes for what is unknown, a blank in front of the very first text."""
    pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *"abcdehilo", "▁h", "▁hi"]
    vocabulary = {piece: place for place, piece in enumerate(pieces)}
    library = Library(
        models.BPE(
            vocabulary,
            [("▁", "h"), ("▁h", "i")],
            unk_token="<unk>",
            byte_fallback=True,
            fuse_unk=True,
        )
    )
    library.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    library.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    library.add_special_tokens(
        [AddedToken(text, special=True, normalized=False) for text in SPECIAL]
    )
    return json.loads(library.to_str())


def load(parsed: dict[str, Any], size: int = 600, **config: Any) -> Tokenizer:
    tokenizer = Tokenizer(json.dumps(parsed).encode(), config)
    tokenizer.limit_to(size)
    return tokenizer


@pytest.fixture
def tokenizer() -> Tokenizer:
    return load(byte_level(), bos_token="<s>", eos_token="<|im_end|>", add_bos_token=False)
