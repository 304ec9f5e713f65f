"""Tokens that end an answer, by key and by name: many files name only one of several."""

from converters.gguf.tokenizers.vocabulary import END_NAMES, Kind, Vocabulary

KEYS = ("eos", "eot", "eom")


def end_tokens(vocabulary: Vocabulary) -> list[int]:
    """Ids, ascending: what the file says, and control tokens with a well-known name."""
    found = {i for key in KEYS if (i := vocabulary.token_id(key)) is not None}
    listed = vocabulary.get("eos_token_ids", [])
    if isinstance(listed, list):
        found |= {i for i in listed if type(i) is int and 0 <= i < len(vocabulary.tokens)}
    by_name = {vocabulary.tokens[i]: i for i in _well_known(vocabulary)}
    return sorted((found | set(by_name.values())) - _not_here(by_name))


def _well_known(vocabulary: Vocabulary) -> list[int]:
    ids = [vocabulary.ids[name] for name in END_NAMES if name in vocabulary.ids]
    return [i for i in ids if vocabulary.kinds[i] == Kind.CONTROL]


def _not_here(by_name: dict[str, int]) -> set[int]:
    """Harmony's <|end|> ends a message, not the answer; Gemma 4's </s> is a tag like any other."""
    excluded: set[int] = set()
    if by_name.keys() >= {"<|return|>", "<|call|>", "<|end|>"} or by_name.keys() >= {
        "<|calls|>",
        "<|flush|>",
        "<|end|>",
    }:
        excluded.add(by_name["<|end|>"])
    if "<|tool_response>" in by_name and "</s>" in by_name:
        excluded.add(by_name["</s>"])
    return excluded
