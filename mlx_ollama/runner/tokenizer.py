"""Text to token ids and back, over the `tokenizers` library and nothing else.

tokenizer.json is untrusted: whatever would pad, truncate or draw at random is taken out, oversized patterns and
replacements that blow text up are refused, and the library's panics (which are no `Exception`) become errors.

A prompt is split at special tokens and encoded segment by segment; segments are cached, so that the next turn
of a conversation, or the next try of a truncation, tokenizes only what is new. A segment carries the special
token before it: its text is encoded exactly as in the whole prompt.

Invariant: every id that leaves is below `size`, the rows of the embedding.
"""

import itertools
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, TypeVar

import msgspec
from tokenizers import Tokenizer as Library

from mlx_ollama.errors import NOT_JSON, InvalidRequest, LoadFailed
from mlx_ollama.runner.vocabulary import end_of_turn_tokens, spelling_of, token_bytes

MAX_PATTERN = 4096  # characters of a regular expression; the longest in use has about 1,000
MAX_GROWTH = 64  # times that replacements may lengthen text
CACHE_CHARACTERS = 4 << 20
_PROBE = ("The quick brown fox, 12345 «jumps» over\n\t the lazy dog's año. " * 70)[:4096]

T = TypeVar("T")


def _guarded(call: Callable[[], T], wrong: str) -> T:
    try:
        return call()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # the library's panics are no Exception
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise LoadFailed(f"{wrong}: {reason}") from error


def _nodes(node: Any) -> Iterable[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from _nodes(child)


def _check_pipeline(parsed: dict[str, Any]) -> None:
    growth = 1
    for part in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        for node in _nodes(parsed.get(part)):
            pattern = node.get("Regex")
            if isinstance(pattern, str) and len(pattern) > MAX_PATTERN:
                raise LoadFailed(f"invalid tokenizer: a pattern of {len(pattern)} characters")
            if part == "normalizer" and node.get("type") == "Replace":
                growth *= max(len(str(node.get("content", ""))), 1)
    if growth > MAX_GROWTH:
        raise LoadFailed("invalid tokenizer: its replacements lengthen text without bound")


def _cleaned(source: bytes) -> dict[str, Any]:
    try:
        parsed = msgspec.json.decode(source)
    except NOT_JSON as error:
        raise LoadFailed("invalid tokenizer: tokenizer.json is not JSON") from error
    if not isinstance(parsed, dict) or not isinstance(parsed.get("model"), dict):
        raise LoadFailed("invalid tokenizer: tokenizer.json has no model")
    parsed["padding"] = parsed["truncation"] = None
    if "dropout" in parsed["model"]:
        parsed["model"]["dropout"] = None
    _check_pipeline(parsed)
    return parsed


def _largest_id(vocabulary: Any) -> int:
    """Of a model's own tokens, whether it maps them to ids or lists them; -1 for none."""
    if isinstance(vocabulary, dict):
        return max(vocabulary.values(), default=-1)
    return len(vocabulary) - 1 if isinstance(vocabulary, list) else -1


def token_text(value: Any) -> str | None:
    """A token of tokenizer_config.json: its text, or an object with `content`."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else None


class Tokenizer:
    """`limit_to` must be told the number of embedding rows before anything is encoded."""

    def __init__(self, source: bytes, config: dict[str, Any]) -> None:
        parsed = _cleaned(source)
        text = msgspec.json.encode(parsed).decode()
        self._library: Library = _guarded(lambda: Library.from_str(text), "invalid tokenizer")
        self.size = 0
        self._config = config
        self._spelling = spelling_of(parsed)
        self._added: dict[int, Any] = self._library.get_added_tokens_decoder()
        self._largest = _largest_id(parsed["model"].get("vocab"))
        self._pieces: dict[int, bytes] = {}
        self._segments = _SegmentCache(CACHE_CHARACTERS)
        self._borders = self._border_pattern()
        _guarded(lambda: self._library.encode(_PROBE), "invalid tokenizer")
        self.bos = self._id_of(config.get("bos_token"))
        self.eos = self._id_of(config.get("eos_token"))
        self.adds_bos = self._adds_bos()

    def limit_to(self, size: int) -> None:
        """Take the number of embedding rows; a tokenizer that knows larger ids is refused."""
        self.size = size
        largest = max([self._largest, *self._added])
        if largest < 0:
            raise LoadFailed("invalid tokenizer: its vocabulary is empty")
        if largest >= self.size:
            raise LoadFailed(
                f"invalid tokenizer: token id {largest} is beyond the model's {self.size} embeddings"
            )

    def _border_pattern(self) -> re.Pattern[str] | None:
        """Matches the tokens that a prompt may be split at: those that touch nothing around them."""
        plain = [
            token.content
            for token in self._added.values()
            if token.content
            and not (token.lstrip or token.rstrip or token.single_word or token.normalized)
        ]
        if not plain:
            return None
        longest_first = sorted(plain, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first)))

    def _id_of(self, token: Any) -> int | None:
        text = token_text(token)
        return None if text is None else self._library.token_to_id(text)

    def _adds_bos(self) -> bool:
        """As tokenizer_config.json says; where it is silent, whether the post-processor puts one in front."""
        if self.bos is None:
            return False
        stated = self._config.get("add_bos_token")
        if isinstance(stated, bool):
            return stated
        probe = _guarded(lambda: self._library.encode("a").ids, "invalid tokenizer")
        return bool(probe) and probe[0] == self.bos

    @cached_property
    def frame(self) -> tuple[list[int], list[int]]:
        """The ids that stand before and behind every text that is embedded."""
        bare = self.encode("a")
        try:
            whole = self._library.encode("a", add_special_tokens=True).ids
        except BaseException as error:  # the library's panics are no Exception
            raise InvalidRequest("the prompt cannot be tokenized") from error
        starts = range(len(whole) - len(bare) + 1)
        start = next((at for at in starts if whole[at : at + len(bare)] == bare), None)
        front = [] if start is None else whole[:start]
        back = [] if start is None else whole[start + len(bare) :]
        if self.adds_bos and self.bos is not None and self.bos not in front:
            front = [self.bos, *front]
        if self._config.get("add_eos_token") is True and self.eos is not None and not back:
            back = [self.eos]
        return front, back

    # ---- encoding

    def encode(self, text: str) -> list[int]:
        """Ids of a text in which special tokens are recognised; nothing is added in front or behind."""
        segments = self._split(text)
        known = self._segments.get(segments)
        missing = [segment for segment in dict.fromkeys(segments) if segment not in known]
        fresh = dict(zip(missing, self._encode_all(missing), strict=True))
        self._segments.update(fresh)
        known |= fresh
        return [token for segment in segments for token in known[segment]]

    def encode_prompt(self, text: str) -> list[int]:
        """Ids of a whole prompt: with the beginning-of-sequence token where the model wants one, never two."""
        ids = self.encode(text)
        if self.adds_bos and self.bos is not None and ids[:1] != [self.bos]:
            return [self.bos, *ids]
        return ids

    def _split(self, text: str) -> list[str]:
        if self._borders is None:
            return [text] if text else []
        starts = [match.start() for match in self._borders.finditer(text)]
        edges = [0, *(start for start in starts if start), len(text)]
        return [text[a:b] for a, b in itertools.pairwise(edges) if b > a]

    def _encode_all(self, segments: list[str]) -> list[list[int]]:
        if not segments:
            return []
        try:
            found = self._library.encode_batch(segments, add_special_tokens=False)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # the library's panics are no Exception
            raise InvalidRequest("the prompt cannot be tokenized") from error
        return [encoding.ids for encoding in found]

    # ---- decoding

    def piece(self, token: int) -> bytes:
        """The bytes of an id; an id without a token has none."""
        known = self._pieces.get(token)
        if known is None:
            text = self._library.id_to_token(token)
            added = token in self._added
            known = b"" if text is None else token_bytes(text, self._spelling, added=added)
            self._pieces[token] = known
        return known

    def check_ids(self, ids: Iterable[int]) -> None:
        """Raises InvalidRequest for an id that the model has no embedding for."""
        if not all(0 <= token < self.size for token in ids):
            raise InvalidRequest("token id out of range")

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids, special tokens included; bytes that are no UTF-8 become U+FFFD."""
        return b"".join(map(self.piece, ids)).decode("utf-8", "replace")

    # ---- special tokens

    @cached_property
    def hidden(self) -> dict[int, str]:
        """Control tokens, which are no text of an answer unless a parser asks for them."""
        return {token: added.content for token, added in self._added.items() if added.special}

    @cached_property
    def added_texts(self) -> frozenset[str]:
        """The texts of all added tokens."""
        return frozenset(added.content for added in self._added.values())

    def text_of(self, token: int) -> str:
        """A token's own text, as the vocabulary spells it."""
        return self._library.id_to_token(token) or ""

    def id_of(self, text: str) -> int | None:
        """The id of a token by its exact text."""
        return self._library.token_to_id(text)

    def end_tokens(self, stated: Iterable[int]) -> frozenset[int]:
        """The ids that end an answer: those the model's configuration states, and those known by name."""
        named = {self._library.token_to_id(text) for text in end_of_turn_tokens(self.added_texts)}
        known = {token for token in named if token is not None}
        own = set() if self.eos is None else {self.eos}
        return frozenset(token for token in known | own | set(stated) if 0 <= token < self.size)


class _SegmentCache:
    """Segments to ids, least recently used out first, bounded by characters. Safe to use from many threads."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._ids: OrderedDict[str, list[int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, segments: list[str]) -> dict[str, list[int]]:
        """Those of the segments that are known."""
        with self._lock:
            found = {segment: self._ids[segment] for segment in segments if segment in self._ids}
            for segment in found:
                self._ids.move_to_end(segment)
            return found

    def update(self, fresh: dict[str, list[int]]) -> None:
        with self._lock:
            for segment, ids in fresh.items():
                if segment not in self._ids and len(segment) < self._limit:
                    self._ids[segment] = ids
                    self._size += len(segment)
            while self._size > self._limit:
                dropped, _ = self._ids.popitem(last=False)
                self._size -= len(dropped)
