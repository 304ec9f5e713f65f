"""`bert`: WordPiece. GGUF marks the beginnings of words with ▁, where the model's own vocabulary marks their
continuations with ##."""

from dataclasses import replace

from converters.gguf.cursor import invalid
from converters.gguf.tokenizers.parts import Json, document, wrap
from converters.gguf.tokenizers.spm import SPACE
from converters.gguf.tokenizers.vocabulary import Kind, Vocabulary

MAX_WORD = 100


def adds_bos(vocabulary: Vocabulary) -> bool:
    return vocabulary.flag("add_bos_token", True)


def tokenizer(vocabulary: Vocabulary) -> Json:
    own = replace(
        vocabulary,
        tokens=[_own_form(t, k) for t, k in zip(vocabulary.tokens, vocabulary.kinds, strict=True)],
    )
    if len(own.ids) != len(own.tokens):
        invalid('key "tokenizer.ggml.tokens" has a word twice')
    lowers = vocabulary.flag("normalizer.lowercase", True)
    end = vocabulary.token_id("seperator")  # spelt so in GGUF
    return document(
        own,
        model={
            "type": "WordPiece",
            "unk_token": own.tokens[_or(vocabulary.token_id("unknown"), 100, own)],
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": MAX_WORD,
            "vocab": own.ids,
        },
        normalizer={
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": vocabulary.flag("normalizer.strip_accents", lowers),
            "lowercase": lowers,
        },
        pre_tokenizer={"type": "BertPreTokenizer"},
        decoder={"type": "WordPiece", "prefix": "##", "cleanup": True},
        post_processor=wrap(
            own,
            _or(vocabulary.token_id("bos"), 101, own),
            _or(end if end is not None else vocabulary.token_id("eos"), 102, own),
        ),
    )


def _own_form(token: str, kind: int) -> str:
    if kind == Kind.CONTROL or (token.startswith("[") and token.endswith("]") and len(token) > 2):
        return token
    return token[len(SPACE) :] if token.startswith(SPACE) else f"##{token}"


def _or(token_id: int | None, usual: int, vocabulary: Vocabulary) -> int:
    """BERT's usual ids hold where the file is silent."""
    chosen = usual if token_id is None else token_id
    if chosen >= len(vocabulary.tokens):
        invalid("the vocabulary lacks its special tokens")
    return chosen
