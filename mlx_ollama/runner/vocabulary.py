"""What a token id is as bytes, and which ids end an answer.

Three spellings of a vocabulary are known: byte-level (GPT-2's printable alphabet for bytes), SentencePiece
(`▁` for a blank, `<0xNN>` for a byte) and plain text.
"""

from collections.abc import Iterable
from typing import Any

# Tokens that end a turn in the formats of the field, where a model's files forget to say so.
# llama.cpp knows the same ones by their text.
END_OF_TURN = frozenset[str](
    (
        *(
            "<|eot_id|>",
            "<|im_end|>",
            "<|end|>",
            "<|return|>",
            "<|call|>",
            "<|flush|>",
            "<|calls|>",
        ),
        *("<end_of_turn>", "<turn|>", "<|endoftext|>", "<|end_of_text|>", "<|eom_id|>", "<EOT>"),
        *(
            "_<EOT>",
            "[EOT]",
            "[EOS]",
            "</s>",
            "<eos>",
            "<end_of_utterance>",
            "<|END_OF_TURN_TOKEN|>",
        ),
        "<\uff5cend\u2581of\u2581sentence\uff5c>",  # DeepSeek writes wide bars and lower blocks
    )
)
# Inside an answer of this format `<|end|>` only closes a channel.
_HARMONY = frozenset({"<|return|>", "<|call|>", "<|end|>"})


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's bijection of characters and bytes: printable ones stand for themselves, others from 256 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    alphabet = {chr(byte): byte for byte in printable}
    shifted = (byte for byte in range(256) if byte not in alphabet.values())
    return alphabet | {chr(256 + place): byte for place, byte in enumerate(shifted)}


_BYTE_OF = _byte_alphabet()


def types_in(node: Any) -> set[str]:
    """The `type` of a pipeline node of tokenizer.json and of all inside it."""
    if isinstance(node, dict):
        inside = set[str]().union(*map(types_in, node.values()))
        return inside | ({node["type"]} if isinstance(node.get("type"), str) else set())
    if isinstance(node, list):
        return set[str]().union(*map(types_in, node))
    return set()


def spelling_of(tokenizer: dict[str, Any]) -> str:
    """`bytes`, `sentencepiece` or `text`, from a parsed tokenizer.json."""
    types = types_in(tokenizer.get("decoder")) | types_in(tokenizer.get("pre_tokenizer"))
    if "ByteLevel" in types:
        return "bytes"
    model = tokenizer.get("model") or {}
    marks = types & {"Metaspace", "ByteFallback"} or model.get("byte_fallback")
    return "sentencepiece" if marks else "text"


def token_bytes(text: str, spelling: str, *, added: bool) -> bytes:
    """The bytes that a token stands for. Added tokens are written as they are."""
    if spelling == "bytes" and not added:
        try:
            return bytes(_BYTE_OF[character] for character in text)
        except KeyError:
            return text.encode("utf-8", "replace")
    if spelling == "sentencepiece":
        if len(text) == 6 and text.startswith("<0x") and text.endswith(">"):
            return _byte_token(text)
        text = text.replace("▁", " ")
    return text.encode("utf-8", "replace")


def _byte_token(text: str) -> bytes:
    try:
        return bytes([int(text[3:5], 16)])
    except ValueError:
        return text.encode("utf-8", "replace")


def end_of_turn_tokens(added: Iterable[str]) -> set[str]:
    """Those of a vocabulary's added tokens that end a turn by their name."""
    found = {text for text in added if text in END_OF_TURN}
    return found - {"<|end|>"} if found >= _HARMONY else found
