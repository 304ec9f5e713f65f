"""The pieces of a tokenizer.json, as the `tokenizers` library writes them."""

from typing import Any

from converters.gguf.tokenizers.vocabulary import Kind, Vocabulary

Json = dict[str, Any]


def document(vocabulary: Vocabulary, *, model: Json, **steps: Json | None) -> Json:
    """The whole file. `steps`: normalizer, pre_tokenizer, post_processor, decoder."""
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added_tokens(vocabulary),
        "normalizer": steps.get("normalizer"),
        "pre_tokenizer": steps.get("pre_tokenizer"),
        "post_processor": steps.get("post_processor"),
        "decoder": steps.get("decoder"),
        "model": model,
    }


def added_tokens(vocabulary: Vocabulary) -> list[Json]:
    """Control and unknown tokens are special; user-defined ones are found in text but are not."""
    wanted = (Kind.CONTROL, Kind.UNKNOWN, Kind.USER_DEFINED)
    rstrip = _is_phi3(vocabulary)
    return [
        _added(
            i,
            vocabulary.tokens[i],
            special=kind != Kind.USER_DEFINED,
            rstrip=rstrip and vocabulary.tokens[i] not in KEEP_SPACE,
        )
        for i, kind in enumerate(vocabulary.kinds)
        if kind in wanted
    ]


KEEP_SPACE = ("<unk>", "<s>", "<|endoftext|>")


def _is_phi3(vocabulary: Vocabulary) -> bool:
    """Its tokens swallow the space after them, which no key says."""
    name = str(vocabulary.metadata.get("general.name", "")).lower()
    return "phi-3" in name or "phi3" in name


def _added(token_id: int, content: str, *, special: bool, rstrip: bool) -> Json:
    return {
        "id": token_id,
        "content": content,
        "single_word": False,
        "lstrip": False,
        "rstrip": rstrip,
        "normalized": False,
        "special": special,
    }


def bpe(vocabulary: Vocabulary, merges: list[tuple[str, str]], **options: Any) -> Json:
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
        "vocab": vocabulary.ids,
        "merges": [list(pair) for pair in merges],
    } | options


def sequence(kind: str, *items: Json) -> Json:
    """`kind`: normalizers, pretokenizers, processors or decoders, the key that the library wants."""
    return {"type": "Sequence", kind: list(items)}


def byte_level() -> Json:
    return {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": False,
        "use_regex": False,
    }


def replace(what: str, by: str) -> Json:
    return {"type": "Replace", "pattern": {"String": what}, "content": by}


def split(regex: str) -> Json:
    """Each match, and each piece between matches, is a piece of its own."""
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}


def wrap(vocabulary: Vocabulary, before: int | None, after: int | None) -> Json | None:
    """A template that adds a begin and an end token; None when there is neither."""
    single: list[Json] = [{"Sequence": {"id": "A", "type_id": 0}}]
    names: Json = {}
    for token_id, at in ((before, 0), (after, 2)):
        if token_id is not None:
            text = vocabulary.tokens[token_id]
            single.insert(at, {"SpecialToken": {"id": text, "type_id": 0}})
            names[text] = {"id": text, "ids": [token_id], "tokens": [text]}
    if not names:
        return None
    pair = [*single, {"Sequence": {"id": "B", "type_id": 1}}]
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": names}
