"""`gpt2`: byte-level BPE; `tokenizer.ggml.pre` names how text is cut before merging."""

from converters.gguf.tokenizers.parts import Json, bpe, byte_level, document, sequence, split, wrap
from converters.gguf.tokenizers.pretokenizers import pretokenizer
from converters.gguf.tokenizers.vocabulary import Vocabulary


def adds_bos(vocabulary: Vocabulary) -> bool:
    return vocabulary.flag("add_bos_token", pretokenizer(vocabulary.pre).adds_bos)


def tokenizer(vocabulary: Vocabulary) -> Json:
    pre = pretokenizer(vocabulary.pre)
    before = vocabulary.token_id("bos") if adds_bos(vocabulary) else None
    after = vocabulary.token_id("eos") if vocabulary.flag("add_eos_token", False) else None
    return document(
        vocabulary,
        model=bpe(vocabulary, vocabulary.merges(), ignore_merges=pre.ignores_merges),
        pre_tokenizer=sequence("pretokenizers", *map(split, pre.patterns), byte_level()),
        decoder=byte_level(),
        post_processor=wrap(vocabulary, before, after),
    )
