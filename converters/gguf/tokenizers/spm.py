"""`llama`: SentencePiece's BPE, whose scores say which pair is merged first, over ▁ for spaces.

`gemma4`: the same text treatment with merges of its own in the file.
"""

from collections.abc import Iterator

from converters.gguf.tokenizers.parts import Json, bpe, document, replace, sequence, split, wrap
from converters.gguf.tokenizers.vocabulary import Kind, Vocabulary

SPACE = "▁"


def adds_bos(vocabulary: Vocabulary) -> bool:
    return vocabulary.flag("add_bos_token", True)


def tokenizer(vocabulary: Vocabulary) -> Json:
    has_prefix = vocabulary.flag("add_space_prefix", True)
    prepend: list[Json] = [{"type": "Prepend", "prepend": SPACE}] if has_prefix else []
    return _document(
        vocabulary,
        merges_by_score(vocabulary),
        normalizer=sequence("normalizers", *prepend, replace(" ", SPACE)),
        strips_first=has_prefix,
    )


def gemma4(vocabulary: Vocabulary) -> Json:
    """Pieces end at line breaks; the template writes <bos> itself where one belongs."""
    return _document(
        vocabulary,
        vocabulary.merges(),
        normalizer=replace(" ", SPACE),
        pre_tokenizer=split(r"[^\n]+|[\n]+"),
        strips_first=False,
    )


def _document(
    vocabulary: Vocabulary,
    merges: list[tuple[str, str]],
    *,
    normalizer: Json,
    strips_first: bool,
    pre_tokenizer: Json | None = None,
) -> Json:
    unknown = vocabulary.token_id("unknown")
    strip: list[Json] = (
        [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if strips_first else []
    )
    decoders: list[Json] = [replace(SPACE, " "), {"type": "ByteFallback"}, {"type": "Fuse"}]
    return document(
        vocabulary,
        model=bpe(
            vocabulary,
            merges,
            byte_fallback=True,
            unk_token=vocabulary.tokens[0 if unknown is None else unknown],
        ),
        normalizer=normalizer,
        pre_tokenizer=pre_tokenizer,
        decoder=sequence("decoders", *decoders, *strip),
        post_processor=wrap(
            vocabulary,
            vocabulary.token_id("bos") if adds_bos(vocabulary) else None,
            vocabulary.token_id("eos") if vocabulary.flag("add_eos_token", False) else None,
        ),
    )


NEVER_MERGED = frozenset({Kind.UNKNOWN, Kind.CONTROL, Kind.USER_DEFINED, Kind.BYTE})


def merges_by_score(vocabulary: Vocabulary) -> list[tuple[str, str]]:
    """Every way to put a token together from two others, the best score first."""
    found = sorted(_pairs(vocabulary))
    return [(left, right) for *_, left, right in found]


def _pairs(vocabulary: Vocabulary) -> Iterator[tuple[float, int, int, str, str]]:
    ids, scores, kinds = vocabulary.ids, vocabulary.scores, vocabulary.kinds
    for i, token in enumerate(vocabulary.tokens):
        if len(token) < 2 or kinds[i] in NEVER_MERGED:
            continue
        for at in range(1, len(token)):
            left = token[:at]
            if left in ids and (right := token[at:]) in ids:
                yield -scores[i], ids[left], ids[right], left, right
