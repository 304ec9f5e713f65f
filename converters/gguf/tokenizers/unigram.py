"""`t5`: SentencePiece's unigram model (T5, XLM-RoBERTa and what is built on them)."""

import base64
from typing import Any

from converters.gguf.cursor import invalid
from converters.gguf.tokenizers.parts import Json, document, sequence, wrap
from converters.gguf.tokenizers.vocabulary import Vocabulary


def adds_bos(vocabulary: Vocabulary) -> bool:
    return vocabulary.flag("add_bos_token", False)


def tokenizer(vocabulary: Vocabulary) -> Json:
    unknown = vocabulary.token_id("unknown")
    adds_prefix = vocabulary.flag("add_space_prefix", True)
    scheme = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    if not adds_prefix:
        scheme["prepend_scheme"] = "never"
    collapse: Json = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
    strip: Json = {"type": "Strip", "strip_left": True, "strip_right": True}
    return document(
        vocabulary,
        model={
            "type": "Unigram",
            "unk_id": 2 if unknown is None else unknown,
            "vocab": [
                [t, float(s)] for t, s in zip(vocabulary.tokens, vocabulary.scores, strict=True)
            ],
            "byte_fallback": False,
        },
        normalizer=sequence("normalizers", *_charsmap(vocabulary), strip, collapse),
        pre_tokenizer=scheme,
        decoder=scheme,
        post_processor=wrap(
            vocabulary,
            vocabulary.token_id("bos") if adds_bos(vocabulary) else None,
            vocabulary.token_id("eos") if vocabulary.flag("add_eos_token", True) else None,
        ),
    )


def _charsmap(vocabulary: Vocabulary) -> list[Json]:
    """SentencePiece's table of normalisations; its length field is checked, since readers trust it."""
    content: Any = vocabulary.get("precompiled_charsmap")
    if content is None:
        return []
    raw = bytes(value & 0xFF for value in content)
    trie = int.from_bytes(raw[:4], "little")
    if len(raw) < 8 or trie % 4 or trie + 4 >= len(raw):
        invalid('key "tokenizer.ggml.precompiled_charsmap" is malformed')
    return [{"type": "Precompiled", "precompiled_charsmap": base64.b64encode(raw).decode()}]
