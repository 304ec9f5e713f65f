"""What a GGUF says of its tokens, checked once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any

from converters.gguf.cursor import invalid


class Kind(IntEnum):
    """`tokenizer.ggml.token_type`."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


END_NAMES = frozenset({
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>",
    "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>",
    "<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>", "<｜end▁of▁sentence｜>", "[e~[",
    "<|END_OF_TURN_TOKEN|>", "<|end_of_turn|>",
})  # fmt: skip
"""Names of tokens that end a turn (llama-vocab.cpp, and the families' own)."""
PLAIN_TEXT = frozenset({"</s>", "<eos>", "[EOS]", "[EOT]"})
"""Of these, the ones that also stand in ordinary text, so that a normal token of this name stays one."""
MAX_TOKENS = 1 << 21
MAX_MERGES = 4 << 20


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """`tokens` are unique and not empty; the id of a token is its index."""

    metadata: Mapping[str, Any]
    tokens: list[str]
    kinds: Sequence[int]

    def get(self, key: str, default: Any = None) -> Any:
        return self.metadata.get(f"tokenizer.ggml.{key}", default)

    @property
    def pre(self) -> str:
        pre = self.get("pre", "default")
        return pre if isinstance(pre, str) and pre else "default"

    @cached_property
    def ids(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self.tokens)}

    @cached_property
    def scores(self) -> Sequence[float]:
        scores = self.get("scores")
        if not isinstance(scores, Sequence) or len(scores) != len(self.tokens):
            invalid('key "tokenizer.ggml.scores" is missing or of the wrong length')
        return list(scores)

    def token_id(self, key: str) -> int | None:
        """A special token's id, None when the file names none. Out of range is an error."""
        value = self.get(f"{key}_token_id")
        if value is None or value == 0xFFFFFFFF:
            return None
        if type(value) is not int or not 0 <= value < len(self.tokens):
            invalid(f'key "tokenizer.ggml.{key}_token_id" is out of range')
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self.get(key, default)
        return value if type(value) is bool else default

    def merges(self) -> list[tuple[str, str]]:
        merges = self.get("merges")
        if not isinstance(merges, Sequence) or isinstance(merges, str) or len(merges) > MAX_MERGES:
            invalid('key "tokenizer.ggml.merges" is missing or out of range')
        # the first character may itself be the space that separates
        pairs = [(m[:at], m[at + 1 :]) for m in merges if (at := m.find(" ", 1)) > 0]
        if len(pairs) != len(merges):
            invalid('key "tokenizer.ggml.merges" has an entry that is not a pair')
        return pairs


def read_vocabulary(metadata: Mapping[str, Any]) -> Vocabulary:
    """Raises InvalidSource."""
    tokens = metadata.get("tokenizer.ggml.tokens")
    if (
        not isinstance(tokens, Sequence)
        or isinstance(tokens, str)
        or not 0 < len(tokens) <= MAX_TOKENS
    ):
        invalid('key "tokenizer.ggml.tokens" is missing or out of range')
    words = list(tokens)
    if not isinstance(words[0], str):
        invalid('key "tokenizer.ggml.tokens" is not a list of texts')
    kinds = metadata.get("tokenizer.ggml.token_type")
    if kinds is None:
        kinds = [Kind.NORMAL] * len(words)
    if not isinstance(kinds, Sequence) or len(kinds) != len(words):
        invalid('key "tokenizer.ggml.token_type" has another length than the tokens')
    tokens = _unique(words)
    return Vocabulary(metadata=metadata, tokens=tokens, kinds=_repaired(tokens, list(kinds)))


def _repaired(tokens: list[str], kinds: list[int]) -> list[int]:
    """Converters have marked end tokens as text; a user's text must not end a turn."""
    for i, token in enumerate(tokens):
        if token in END_NAMES:
            is_text = kinds[i] == Kind.NORMAL and token in PLAIN_TEXT
            kinds[i] = kinds[i] if is_text else Kind.CONTROL
    return kinds


def _unique(words: list[str]) -> list[str]:
    """Empty and repeated tokens get names of their own, so that every id keeps its place."""
    seen: set[str] = set()
    out: list[str] = []
    for i, word in enumerate(words):
        clean = word.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        name = (
            clean
            if clean and clean not in seen
            else f"[{'EMPTY' if not clean else 'REPEATED'}_{i}]"
        )
        seen.add(name)
        out.append(name)
    return out
